"""One claim at one look: from what was heard to what is decided, and in which words. Pure but for the view.

Writing what is decided is ``acting``'s.
"""

from dataclasses import dataclass, replace

from vgpu import values
from vgpu.api.conditions import Reason
from vgpu.elasticity import decision, explain, facts, recall, settings, state
from vgpu_operator import verdicts
from vgpu_operator.elasticity import assembly, series, waking
from vgpu_operator.elasticity.assembly import Subject
from vgpu_operator.elasticity.outcomes import Told
from vgpu_operator.elasticity.remembered import Remembered
from vgpu_operator.elasticity.rooms import MOST_AT_ONCE, Places, Rooms
from vgpu_operator.elasticity.scalers import Scaler
from vgpu_operator.elasticity.series import Trouble
from vgpu_operator.elasticity.signals import Signals

NOBODY_SERVES = Trouble("no pod serves yet")
ANY_POD = values.PodRef(name="another", uid="another")


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """``decided`` with the facts it was decided on, or the ``trouble`` for which everything is held."""

    facts: facts.ClaimFacts
    decided: decision.Decision
    remembered: Remembered
    trouble: Trouble | None = None
    short_of: Places | None = None

    @property
    def sentence(self) -> str:
        """What was decided and why."""
        return explain.sentence(self.facts, self.decided)


def judge(
    subject: Subject, signals: Signals, scaler: Scaler, before: Remembered, rooms: Rooms, *, now: float
) -> Judgement:
    """What to do about a claim now."""
    remembered = heard(subject, signals, before, now=now)
    claim = _facts(subject, signals, scaler, remembered, rooms, now=now)
    trouble = _trouble(subject, signals, scaler, remembered, now=now)
    waits = claim.replicas == 0 and (claim.waiting or 0) > 0
    if trouble is not None and not waits:
        held = decision.Decision(action=decision.Action.HOLD, reason=decision.Reason.NO_SIGNAL)
        return Judgement(facts=claim, decided=held, remembered=remembered, trouble=trouble)
    return _decided(subject, claim, remembered, rooms, now=now)


def heard(subject: Subject, signals: Signals, before: Remembered, *, now: float) -> Remembered:
    """What is remembered of a claim with what was heard of it."""
    scaling = subject.claim.scaling
    found = assembly.answer(signals, scaling.workload_query if scaling else None, now=now)
    rates = series.samples(found) if isinstance(found, series.Series) else ()
    serving = sum(1 for each in subject.holdings if subject.serves(each))
    uses = assembly.uses_of(subject, signals)
    known = replace(before, awake_bytes=waking.held(subject, signals, before.awake_bytes))
    return known.heard(rates, uses, expected_slices=serving)


def _facts(
    subject: Subject,
    signals: Signals,
    scaler: Scaler,
    remembered: Remembered,
    rooms: Rooms,
    *,
    now: float,
) -> facts.ClaimFacts:
    scaling = subject.scaling
    ours = scaler.scale is not None and scaler.other is None
    pool = rooms.pool_facts(subject.claim, places=MOST_AT_ONCE)
    slices = tuple(
        waking.wakeable(each, remembered.awake_bytes.get(each.id), quota_bytes=pool.quota_memory_bytes)
        for each in assembly.slices_of(subject, rooms, signals, remembered, now=now)
    )
    return facts.ClaimFacts(
        slices=slices,
        curve=assembly.curve_of(subject, remembered),
        pool=pool,
        samples=remembered.rates if remembered.by_work else remembered.uses,
        objectives=assembly.objectives_of(subject, signals, now=now),
        replicas=scaler.scale.wished if ours and scaler.scale is not None else None,
        min_replicas=scaling.min_replicas if ours and scaling is not None else len(slices),
        max_replicas=scaling.max_replicas if ours and scaling is not None else len(slices),
        can_sleep=ours and subject.claim.sleep_port is not None,
        idle_seconds=scaling.idle_seconds if ours and scaling is not None else None,
        waiting=assembly.value(signals, scaling.wake_query, now=now) if scaling is not None else None,
    )


def _trouble(
    subject: Subject, signals: Signals, scaler: Scaler, remembered: Remembered, *, now: float
) -> Trouble | None:
    """Why there is nothing to decide by; a service without replicas has to say nothing but what waits."""
    scaling = subject.scaling
    if scaler.scale is not None and scaler.scale.wished == 0 and scaling is not None:
        found = assembly.answer(signals, scaling.wake_query, now=now)
        return Trouble(f"idle.wake: {found.reason}") if isinstance(found, Trouble) else None
    if not any(subject.ready(each) for each in subject.holdings):
        return NOBODY_SERVES
    found = assembly.answer(signals, scaling.workload_query if scaling else None, now=now)
    if isinstance(found, Trouble):
        return Trouble(f"workload: {found.reason}")
    if remembered.by_work:
        return None
    if signals.trouble is not None:
        return signals.trouble
    newest = assembly.newest_of(remembered.uses)
    if newest is None or now - newest > settings.DEFAULT.stale_seconds:
        return Trouble("Prometheus has no recent use of its slices; does it scrape the agents?")
    return None


def _decided(
    subject: Subject, claim: facts.ClaimFacts, remembered: Remembered, rooms: Rooms, *, now: float
) -> Judgement:
    """Decided with places for everything first; only who wants more replicas has them looked for."""
    rule = assembly.rule_of(subject.claim)
    remembered, before = _state(claim, remembered, rule)
    decided, after = decision.decide(claim, before, now=now, rule=rule)
    short_of = None
    if claim.replicas is not None and decided.replicas is not None and decided.replicas > claim.replicas:
        unplaced = max(0, claim.replicas - len(claim.slices))
        places = _places(subject, rooms, decided.replicas - claim.replicas + unplaced)
        pool = replace(claim.pool, placeable=max(0, places.count - unplaced))
        claim = replace(claim, pool=pool)
        wished = decided.replicas
        decided, after = decision.decide(claim, before, now=now, rule=rule)
        short_of = places if (decided.replicas or 0) < wished and places.short_of is not None else None
    decided = waking.with_memory(decided, claim, remembered.awake_bytes, rule)
    remembered = replace(remembered, state=after)
    return Judgement(facts=claim, decided=decided, remembered=remembered, short_of=short_of)


def _state(
    claim: facts.ClaimFacts, remembered: Remembered, rule: settings.Settings
) -> tuple[Remembered, state.State]:
    """The state to decide on, made from the past where there is none."""
    if remembered.state is not None:
        return remembered, remembered.state
    recalled = recall.state_of(claim, claim.samples[:-1], rule=rule)
    return replace(remembered, state=recalled), recalled


def _places(subject: Subject, rooms: Rooms, at_most: int) -> Places:
    return rooms.places(verdicts.request(subject.claim, subject.pool.name, ANY_POD), at_most=at_most)


def scaling_told(judged: Judgement, scaler: Scaler, scaling: values.Scaling | None) -> Told:
    """What ScalingLimited says."""
    if scaler.other is not None or scaling is None:
        return scaler.other or Told(reason=Reason.NOT_SCALED, message="replicas are the workload's own")
    if judged.trouble is not None:
        return _held("replicas stay as they are", judged.trouble)
    needed = judged.decided.inputs.get("neededReplicas", 0)
    if judged.short_of is not None:
        short = judged.short_of
        no_fit = short.short_of is values.Reason.NO_FIT
        return Told(reason=Reason.NO_FIT if no_fit else Reason.WAITING_FOR_QUOTA, message=short.message)
    if needed > scaling.max_replicas:
        message = f"more than maxReplicas {scaling.max_replicas} are needed; raise it or the slices' limits"
        return Told(reason=Reason.AT_MAX_REPLICAS, message=message)
    message = f"replicas are scaled between {scaling.min_replicas} and {scaling.max_replicas}"
    return Told(reason=Reason.WITHIN_BOUNDS, message=message)


def sizing_told(judged: Judgement) -> Told | None:
    """What Resizing says beside the ledger; None where there is nothing to add."""
    if judged.trouble is not None:
        return _held("slices keep their size", judged.trouble)
    if judged.decided.limited:
        message = "the work needs more compute than the limits, quota and devices of its slices have"
        return Told(reason=Reason.DEFERRED, message=message)
    return None


def _held(what: str, trouble: Trouble) -> Told:
    """Of what nobody serves yet nothing is missing; it has only not begun."""
    begins = trouble is NOBODY_SERVES
    reason = Reason.PENDING_EVALUATION if begins else Reason.METRICS_UNAVAILABLE
    return Told(reason=reason, message=f"{what}: {trouble.reason}")
