"""One decision about one claim: grow the slices where they stand, then replicas, then say what is missing.

The way down is the reverse, later. The answer carries its signals, inputs and clamps, so that it can be
explained; writing it anywhere is not done here.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, StrEnum

from vgpu import values
from vgpu.elasticity import (
    demand,
    facts,
    horizontal,
    idleness,
    resizing,
    settings,
    sleeping,
    state,
    vertical,
)


class Action(Enum):
    """The foremost thing a decision changes."""

    HOLD = "Hold"
    GROW = "Grow"
    SHRINK = "Shrink"
    SCALE_UP = "ScaleUp"
    SCALE_DOWN = "ScaleDown"
    SLEEP = "Sleep"
    WAKE = "Wake"


class Reason(StrEnum):
    """Why, in words a condition can carry."""

    NO_SIGNAL = "NoSignal"
    WORK_WAITS = "WorkWaits"
    IDLE = "Idle"
    NO_SLICES = "NoSlices"
    AT_TARGET = "AtTarget"
    OBJECTIVE_MISSED = "ObjectiveMissed"
    DEMAND_ROSE = "DemandRose"
    DEMAND_FELL = "DemandFell"
    NO_ROOM = "NoRoom"
    MEMORY_DENIED = "MemoryDenied"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What should be, per slice id and for the claim; what is not named stays.

    ``allocations`` holds only slices that change. ``replicas`` is None where the claim does not scale.
    ``limited`` tells that demand is left which nothing could serve; ``lacking_percent`` is the compute, in
    percent of one GPU, for want of which its slices do not serve what is asked.
    """

    action: Action
    reason: Reason
    allocations: Mapping[str, values.Amounts] = field(default_factory=dict)
    replicas: int | None = None
    sleep: frozenset[str] = frozenset()
    wake: frozenset[str] = frozenset()
    limited: bool = False
    lacking_percent: float = 0.0
    signals: Mapping[str, float] = field(default_factory=dict)
    inputs: Mapping[str, float] = field(default_factory=dict)
    clamps: tuple[str, ...] = ()
    message: str = ""


def decide(
    claim: facts.ClaimFacts, before: state.State, *, now: float, rule: settings.Settings = settings.DEFAULT
) -> tuple[Decision, state.State]:
    """The decision about a claim now, and what to remember for the next one.

    Without a fresh rate nothing changes, but that the first replica starts where work waits for one; no slice
    leaves the range from its requests to its limits.
    """
    if idleness.must_wake(claim):
        return _woken(claim), idleness.woken(before, now=now)
    _, newest = state.seen(before, claim.samples)
    if newest is None or now - newest > rule.stale_seconds:
        return _held(claim, Reason.NO_SIGNAL, "no rate of work newer than the allowed age"), before
    wanted, after = demand.measured(claim, before, rule, now=now)
    after = state.met(idleness.remembered(claim, after, now=now), claim.slices, now=now)
    naps = sleeping.naps(
        claim, wanted.asked, slack=wanted.pace.slack, short=demand.is_short(claim.pool, rule)
    )
    serving = [each for each in claim.slices if naps.serves(each)]
    sized = vertical.sizes(serving, rate=wanted.asked, curve=claim.curve)
    after = _refusals(after, sized, wanted, rule, now=now)
    after = sleeping.remembered(claim, after, naps, now=now)
    count = idleness.counted(claim, _count(claim, wanted, sized, after, rule, now=now), after, now=now)
    replicas = horizontal.wished(claim, count)
    return _composed(claim, wanted, sized, replicas, naps, after, rule, now=now)


def _held(claim: facts.ClaimFacts, reason: Reason, message: str) -> Decision:
    return Decision(action=Action.HOLD, reason=reason, replicas=claim.replicas, message=message)


def _woken(claim: facts.ClaimFacts) -> Decision:
    replicas = horizontal.wished(claim, max(1, claim.min_replicas))
    return Decision(
        action=Action.SCALE_UP if replicas.wished else Action.HOLD,
        reason=Reason.WORK_WAITS,
        replicas=replicas.wished,
        limited=not replicas.wished,
        signals={"waiting": claim.waiting or 0.0},
        clamps=replicas.clamps,
        message=f"{claim.waiting:g} waiting",
    )


def _refusals(
    after: state.State, sized: vertical.Sizes, wanted: demand.Demand, rule: settings.Settings, *, now: float
) -> state.State:
    """Remember since when the devices refuse more than a little of the growth."""
    refused = sized.unserved_rate > rule.refused_part * max(wanted.expected, 1e-9)
    since = (now if after.refused_since is None else after.refused_since) if refused else None
    return after if since == after.refused_since else replace(after, refused_since=since)


def _count(
    claim: facts.ClaimFacts,
    wanted: demand.Demand,
    sized: vertical.Sizes,
    after: state.State,
    rule: settings.Settings,
    *,
    now: float,
) -> int:
    """Replicas before the slices' own devices run out of room for what lasts or may come; more for an alarm.

    Those that are there stay while what lasts needs them, and sleepers stand on every device in use.
    """
    lasting, present = horizontal.needed(wanted.needed, claim.curve), claim.replicas or 0
    lasts = max(wanted.needed, wanted.reserve) if claim.can_sleep else wanted.needed
    spare = vertical.reach(claim.slices, claim.curve) - lasts
    missing = math.ceil(-spare / claim.curve.efficient_rate - 1e-9)
    count = max(min(present, lasting), len(claim.slices) + missing)  # who has no slice yet was asked for
    if claim.can_sleep:
        count = max(count, claim.pool.devices)
    serving = len(sized.percent)
    if wanted.alarm > 1:
        count = max(count, math.ceil(serving * min(wanted.alarm, rule.alarm_replicas)))
    if now < after.alarm_until:
        count = max(count, serving)
    if _lasts(after, rule, now=now):
        unserved = math.ceil(sized.unserved_rate / claim.curve.efficient_rate - 1e-9)
        count = max(count, len(after.asleep_since) + serving + max(1, unserved))
    return min(count, max(len(claim.slices), _useful(claim, lasts))) if claim.can_sleep else count


def _useful(claim: facts.ClaimFacts, rate: float) -> int:
    """Replicas of which more would not help: grown ones for the rate, and one that sleeps on every device."""
    grown = claim.curve.rate_at(claim.curve.stretched_percent)
    return math.ceil(rate / grown - 1e-9) + claim.pool.devices


def _lasts(after: state.State, rule: settings.Settings, *, now: float) -> bool:
    """True when the devices have refused growth for some time."""
    return after.refused_since is not None and now - after.refused_since >= rule.refused_seconds


def _composed(
    claim: facts.ClaimFacts,
    wanted: demand.Demand,
    sized: vertical.Sizes,
    replicas: horizontal.Replicas,
    naps: sleeping.Naps,
    after: state.State,
    rule: settings.Settings,
    *,
    now: float,
) -> tuple[Decision, state.State]:
    allocations = resizing.allocations(claim, wanted, sized, after, rule, now=now)
    grown = {id_ for id_, amounts in allocations.items() if _grows(claim, id_, amounts)}
    if grown:
        after = replace(after, grown_at={**after.grown_at, **dict.fromkeys(grown, now)})
    count = sleeping.kept(claim, replicas.wished, after, rule, now=now)
    action = _action(claim, allocations, grown, count, naps)
    limited = sized.unserved_rate > rule.refused_part * wanted.expected and replicas.wished < replicas.needed
    decision = Decision(
        action=action,
        reason=_reason(action, wanted, claim, limited=limited, idle=idleness.idle(claim, after, now=now)),
        allocations=allocations,
        replicas=None if claim.replicas is None else count,
        sleep=naps.sleep,
        wake=naps.wake,
        limited=limited,
        lacking_percent=_lacking_percent(claim, wanted, sized),
        signals=_signals(claim, wanted),
        inputs=_inputs(claim, wanted, sized, replicas),
        clamps=replicas.clamps,
        message="; ".join(wanted.reasons),
    )
    return decision, after


def _lacking_percent(claim: facts.ClaimFacts, wanted: demand.Demand, sized: vertical.Sizes) -> float:
    """What the claim's slices would use if their devices had it, within their limits and the quota."""
    curve = claim.curve
    grown = (
        min(each.limits.compute_percent, curve.worthwhile_percent) for each in claim.slices if each.ready
    )
    could = min(wanted.asked, sum(curve.rate_at(share) for share in grown))
    lacking = max(0.0, could - (wanted.asked - sized.unserved_rate))
    percent = lacking / curve.efficient_rate * curve.efficient_percent
    quota = claim.pool.quota_percent
    return percent if quota is None else min(percent, float(max(0, quota)))


def _grows(claim: facts.ClaimFacts, slice_id: str, amounts: values.Amounts) -> bool:
    present = next(each.allocated for each in claim.slices if each.id == slice_id)
    return amounts.compute_percent > present.compute_percent


def _action(
    claim: facts.ClaimFacts,
    allocations: Mapping[str, values.Amounts],
    grown: set[str],
    count: int,
    naps: sleeping.Naps,
) -> Action:
    present = claim.replicas or 0
    larger = any(
        amounts.memory_bytes > each.allocated.memory_bytes
        for each in claim.slices
        if (amounts := allocations.get(each.id)) is not None
    )
    happens: Sequence[tuple[bool, Action]] = (
        (claim.replicas is not None and count > present, Action.SCALE_UP),
        (bool(naps.wake), Action.WAKE),
        (bool(grown) or larger, Action.GROW),
        (claim.replicas is not None and count < present, Action.SCALE_DOWN),
        (bool(naps.sleep), Action.SLEEP),
        (bool(allocations), Action.SHRINK),
    )
    return next((action for happened, action in happens if happened), Action.HOLD)


def _reason(
    action: Action, wanted: demand.Demand, claim: facts.ClaimFacts, *, limited: bool, idle: bool
) -> Reason:
    if action in (Action.GROW, Action.SCALE_UP, Action.WAKE):
        if any(each.memory_denied for each in claim.slices) and action is Action.GROW:
            return Reason.MEMORY_DENIED
        return Reason.OBJECTIVE_MISSED if wanted.alarm > 1 else Reason.DEMAND_ROSE
    if action is Action.SCALE_DOWN and idle:
        return Reason.IDLE
    if action is not Action.HOLD:
        return Reason.DEMAND_FELL
    if not claim.slices:
        return Reason.NO_SLICES
    return Reason.NO_ROOM if limited else Reason.AT_TARGET


def _signals(claim: facts.ClaimFacts, wanted: demand.Demand) -> dict[str, float]:
    found = {"rate": wanted.rate, "slope": wanted.slope}
    if claim.queued is not None:
        found["queued"] = claim.queued
    found.update({each.name: each.value for each in claim.objectives if each.value is not None})
    return found


def _inputs(
    claim: facts.ClaimFacts, wanted: demand.Demand, sized: vertical.Sizes, replicas: horizontal.Replicas
) -> dict[str, float]:
    return {
        "expectedRate": wanted.expected,
        "neededRate": wanted.needed,
        "reserveRate": wanted.reserve,
        "headroom": wanted.pace.headroom,
        "alarm": wanted.alarm,
        "efficientPercent": claim.curve.efficient_percent,
        "efficientRate": claim.curve.efficient_rate,
        "unservedRate": sized.unserved_rate,
        "neededReplicas": replicas.needed,
        "poolFree": claim.pool.free,
    }
