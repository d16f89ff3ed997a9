"""Carries out what was decided for one claim: sizes into the ledger, replicas by the scale subresource."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace

from vgpu import values
from vgpu_kube import crash, errors
from vgpu_kube.protocol import Kube
from vgpu_kube.resources import PODS
from vgpu_operator import known
from vgpu_operator.elasticity import waking, writing
from vgpu_operator.elasticity.assembly import Subject
from vgpu_operator.elasticity.counts import Counts
from vgpu_operator.elasticity.judgement import Judgement
from vgpu_operator.elasticity.remembered import Remembered
from vgpu_operator.elasticity.scalers import Scaler
from vgpu_operator.elasticity.series import Trouble
from vgpu_operator.elasticity.signals import Signals
from vgpu_operator.elasticity.sleepers import Sleepers
from vgpu_operator.elasticity.targets import Scale, Targets
from vgpu_operator.view import View

BEFORE_SCALE = "scale-before-write"
AFTER_SCALE = "scale-after-write"

FIRST_TO_GO = -100
"""The deletion cost of pods that a scale-down shall take; others have none of ours."""


class Hands:
    """Writes for the loop; everything it writes may be written again."""

    def __init__(self, kube: Kube, view: View, targets: Targets, sleepers: Sleepers, counts: Counts) -> None:
        self._kube = kube
        self._view = view
        self._targets = targets
        self._sleepers = sleepers
        self._counts = counts

    async def size(self, subject: Subject, judged: Judgement) -> None:
        """Brings the slices to their decided sizes; wishes that nothing wants end. Raises KubeError."""
        if not subject.elastic or judged.trouble is not None:
            return
        claim = subject.claim
        bounds = writing.Bounds(requests=claim.requests, limits=claim.limits)
        for node, sizes in _by_node(subject, judged).items():
            raw = await writing.write(self._kube, node, sizes, bounds)
            self._view.nodes.observe(raw)
        held = {each.id: each.allocated for each in judged.facts.slices}
        for slice_id, amounts in judged.decided.allocations.items():
            direction = "shrink" if held[slice_id].covers(amounts) else "grow"
            self._counts.resizes.labels(direction, "asked").inc()

    async def nap(self, subject: Subject, judged: Judgement) -> None:
        """Puts surplus replicas to sleep and wakes needed ones; who does not answer stays as it is.

        Nobody is woken before the memory for that is there: the next look finds it.
        """
        pods = {each.slice.id: [pod.uid for pod in each.slice.pods] for each in subject.holdings}
        for ids, ask in (
            (judged.decided.wake - waking.waits(subject, judged.decided), self._sleepers.wake),
            (judged.decided.sleep, self._sleepers.sleep),
        ):
            for slice_id in sorted(ids):
                for uid in pods[slice_id]:
                    await ask(subject, uid)

    async def scale(self, subject: Subject, judged: Judgement, scaler: Scaler) -> Scale | Trouble | None:
        """Brings the target to the decided replicas; the scale as it is then, None where none is known."""
        scale, scaling = scaler.scale, subject.claim.scaling
        desired = scaler.asked if scaler.asked is not None else judged.decided.replicas
        held = scaler.asked is None and (scaler.other is not None or judged.trouble is not None)
        if scale is None or scaling is None or desired is None or held or desired == scale.wished:
            return scale
        if desired < scale.wished and scaler.asked is None:
            await self._mark(subject, scale.wished - desired)
        crash.point(BEFORE_SCALE)
        written = await self._targets.write(subject.claim.ref.namespace, scaling.target, desired, seen=scale)
        crash.point(AFTER_SCALE)
        direction = "up" if desired > scale.wished else "down"
        self._counts.scalings.labels(direction, "failed" if isinstance(written, Trouble) else "asked").inc()
        return written

    async def _mark(self, subject: Subject, count: int) -> None:
        """Lets controllers remove the pods with the smallest slices, those that do not serve before all."""
        order = sorted(subject.holdings, key=lambda each: (*_worth(subject, each.slice), each.slice.id))
        first = {pod.uid for each in order[:count] for pod in each.slice.pods}
        for pod in subject.pods.values():
            cost = FIRST_TO_GO if pod.ref.uid in first else 0
            if pod.deletion_cost != cost and FIRST_TO_GO in (pod.deletion_cost, cost):
                await self._set_cost(pod, cost)

    async def _set_cost(self, pod: known.Pod, cost: int) -> None:
        annotations = {known.DELETION_COST: str(cost) if cost else None}
        patch = {"metadata": {"uid": pod.ref.uid, "annotations": annotations}}
        try:
            raw = await self._kube.patch_merge(PODS, pod.ref.name, patch, pod.namespace)
        except (errors.NotFound, errors.Conflict):  # it goes as it is
            return
        self._view.pods.observe(raw)


def answered(judged: Judgement, subject: Subject, signals: Signals, *, now: float) -> Remembered:
    """What is remembered once the sizes are written: which refused allocations need no further answer.

    What a sleeper wakes into counts as used, like an answer: it is not in use before it is awake.
    """
    denials, answers = {}, {}
    for holding, each in zip(subject.holdings, judged.facts.slices, strict=True):
        memory = signals.memories.get(subject.slot(holding))
        before = judged.remembered.denials.get(each.id)
        grown = judged.decided.allocations.get(each.id, each.allocated).memory_bytes
        open_ = each.memory_denied and grown <= each.allocated.memory_bytes
        if (each.memory_denied and not open_) or each.id in judged.decided.wake:
            answers[each.id] = now, grown
        elif (answer := judged.remembered.answers.get(each.id)) is not None:
            answers[each.id] = answer
        if memory is not None and not open_:
            denials[each.id] = memory.denials
        elif before is not None:
            denials[each.id] = before
    return replace(judged.remembered, denials=denials, answers=answers)


def _by_node(subject: Subject, judged: Judgement) -> Mapping[str, dict[str, values.Amounts]]:
    sizes: defaultdict[str, dict[str, values.Amounts]] = defaultdict(dict)
    for holding in subject.holdings:
        entry = holding.slice
        size = judged.decided.allocations.get(entry.id, entry.allocated)
        if size != (entry.wanted or entry.allocated):
            sizes[holding.node][entry.id] = size
    return sizes


def _worth(subject: Subject, entry: values.Slice) -> tuple[bool, int]:
    serves = any((pod := subject.pods.get(each.uid)) is not None and pod.ready for each in entry.pods)
    return serves, entry.allocated.compute_percent
