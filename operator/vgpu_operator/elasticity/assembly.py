"""From what is known of a claim to the facts of its decision. Pure but for reading the view."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from vgpu import values
from vgpu.elasticity import facts, settings, usage, work
from vgpu_operator import known
from vgpu_operator.elasticity import series
from vgpu_operator.elasticity.remembered import Remembered
from vgpu_operator.elasticity.rooms import Rooms
from vgpu_operator.elasticity.series import Trouble
from vgpu_operator.elasticity.signals import PEAK_SECONDS, Memory, Signals, Slot, Use
from vgpu_operator.holdings import Holding

USE_OF_ALLOCATED = 100
"""Where no objective says how busy a slice should be, the rule's headroom does."""

LEARNED_HEADROOM = 1.35
"""What is learned of work while its slices are too small is too little: only headroom leads out of that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One claim as the loop sees it: its slices that stay, their pods, its pool; ``asleep`` are slice ids."""

    claim: values.Claim
    pool: values.Pool
    holdings: tuple[Holding, ...]
    pods: Mapping[str, known.Pod]
    asleep: frozenset[str] = frozenset()

    @property
    def fixed(self) -> bool:
        """True when its slices stay as they are; one that has its devices to itself has them whole."""
        modes = (self.pool.elasticity, self.claim.elasticity)
        return values.ElasticityMode.FIXED in modes or self.claim.constraints.exclusive

    @property
    def elastic(self) -> bool:
        """True when its slices may have another size than their floor."""
        return not self.fixed and self.claim.limits != self.claim.requests

    @property
    def scaling(self) -> values.Scaling | None:
        """How its replicas scale; pods of a shared slice add nothing to it."""
        return self.claim.scaling if self.claim.mode is values.AllocationMode.PER_POD else None

    def slot(self, holding: Holding) -> Slot:
        """By which labels the exporter calls a slice."""
        ref, pods = self.claim.ref, holding.slice.pods
        return ref.namespace, ref.name, pods[0].name if len(pods) == 1 else ""

    def serves(self, holding: Holding) -> bool:
        """True when a pod of the slice serves."""
        return self.ready(holding) and holding.slice.id not in self.asleep

    def ready(self, holding: Holding) -> bool:
        """True when a pod of the slice serves, or would if it were awake."""
        if holding.slice.id in self.asleep:
            return True
        return any((pod := self.pods.get(each.uid)) is not None and pod.ready for each in holding.slice.pods)


def queries(claim: values.Claim) -> tuple[str, ...]:
    """What the claim has asked of Prometheus."""
    scaling = claim.scaling
    if scaling is None:
        return ()
    asked = (scaling.workload_query, scaling.wake_query, *(each.query for each in scaling.query_objectives))
    return tuple(query for query in asked if query is not None)


def rule_of(claim: values.Claim) -> settings.Settings:
    """The loop's constants, where the claim's own words do not change them.

    Replicas never go sooner than shares: what shares are still sized for would bring them back at once.
    """
    scaling, rule = claim.scaling, _with_headroom(settings.DEFAULT, LEARNED_HEADROOM)
    if scaling is None:
        return rule
    for each in scaling.use_objectives:
        if each.resource is values.Resource.COMPUTE:
            rule = _with_headroom(rule, 100 / each.average_percent)
        else:
            rule = replace(rule, memory_margin=100 / each.average_percent)
    return replace(rule, stabilization_seconds=max(rule.roomy.window_seconds, scaling.stabilization_seconds))


def _with_headroom(rule: settings.Settings, headroom: float) -> settings.Settings:
    roomy, full = replace(rule.roomy, headroom=headroom), replace(rule.full, headroom=headroom)
    return replace(rule, roomy=roomy, full=full)


def uses_of(subject: Subject, signals: Signals) -> tuple[Use, ...]:
    """The use of the slices that serve, as far as it was heard."""
    slots = (subject.slot(each) for each in subject.holdings if subject.serves(each))
    return tuple(signals.uses[slot] for slot in slots if slot in signals.uses)


def curve_of(subject: Subject, remembered: Remembered) -> work.Curve:
    """What a slice serves: by the learned cost of work, or its own share of use where that is unknown."""
    largest = subject.claim.limits.compute_percent
    if subject.fixed:
        largest = max([1, *(each.slice.allocated.compute_percent for each in subject.holdings)])
    unit = remembered.cost.percent_per_unit
    if remembered.by_work and unit is not None:
        return work.linear(unit, largest_percent=largest)
    return usage.curve(ceiling_percent=largest)


def objectives_of(subject: Subject, signals: Signals, *, now: float) -> tuple[facts.Objective, ...]:
    """The claim's objectives with what was measured; None for what could not be."""
    scaling = subject.claim.scaling
    return tuple(
        facts.Objective(name=each.name, value=value(signals, each.query, now=now), maximum=each.maximum)
        for each in (scaling.query_objectives if scaling else ())
    )


def value(signals: Signals, query: str | None, *, now: float) -> float | None:
    """The newest answer to a query, None where there is none to go by."""
    found = answer(signals, query, now=now)
    return None if found is None or isinstance(found, Trouble) else series.newest(found)


def answer(signals: Signals, query: str | None, *, now: float) -> series.Series | Trouble | None:
    """The one series of a query, the trouble with it, or None where nothing was asked."""
    if query is None:
        return None
    found = signals.answers.get(query, Trouble("the query was not asked yet"))
    return series.only(found, now=now, stale_seconds=settings.DEFAULT.stale_seconds)


def slices_of(
    subject: Subject, rooms: Rooms, signals: Signals, remembered: Remembered, *, now: float
) -> tuple[facts.SliceFacts, ...]:
    """The facts of every slice, in the order of the holdings."""
    return tuple(_slice(subject, each, rooms, signals, remembered, now=now) for each in subject.holdings)


def _slice(
    subject: Subject,
    holding: Holding,
    rooms: Rooms,
    signals: Signals,
    remembered: Remembered,
    *,
    now: float,
) -> facts.SliceFacts:
    entry = holding.slice
    room, neighbours = rooms.beside(holding)
    memory = signals.memories.get(subject.slot(holding), Memory())
    answered = remembered.denials.get(entry.id)
    limits = entry.allocated if subject.fixed else entry.limits
    asleep = entry.id in subject.asleep
    peak = memory.used_bytes if asleep else _peak(memory, remembered.answers.get(entry.id), now=now)
    return facts.SliceFacts(
        id=entry.id,
        requests=entry.allocated if subject.fixed else entry.requests,
        allocated=entry.allocated,
        limits=limits,
        room=room,
        device_uuids=entry.device_uuids,
        neighbours_percent=neighbours,
        ready=subject.ready(holding),
        asleep=asleep,
        memory_peak_bytes=peak,
        memory_denied=not asleep and _denied(holding, memory, answered),
        memory_denied_bytes=_typical(memory),
    )


def _denied(holding: Holding, memory: Memory, answered: float | None) -> bool:
    """True for a refusal that no growth has answered; at first sight only if the node tells of one now."""
    if answered is not None:
        return memory.denials > answered
    enforced = holding.enforced
    return enforced is not None and values.Lack.MEMORY_REFUSED in enforced.pressure


def _peak(memory: Memory, answer: tuple[float, int] | None, *, now: float) -> int | None:
    """The most memory in use lately; what was given for a refused allocation counts as used for as long."""
    if memory.peak_bytes is None or answer is None or now - answer[0] >= PEAK_SECONDS:
        return memory.peak_bytes
    return max(memory.peak_bytes, math.ceil(answer[1] / settings.DEFAULT.memory_margin))


def _typical(memory: Memory) -> int:
    """The bytes of a refused allocation: their mean, as applications repeat the same one."""
    return math.ceil(memory.denied_bytes / memory.denials) if memory.denials > 0 else 0


def newest_of(samples: Sequence[facts.Sample]) -> float | None:
    """When the newest sample was taken."""
    return samples[-1].at if samples else None
