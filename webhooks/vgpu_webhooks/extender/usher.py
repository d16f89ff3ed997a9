"""Leading pods to the places that were found for them: the ledger first, then kube-scheduler is told.

A pod behind our gate gets its slice, the nomination and the open gate, in this order, so that a death in
between leaves a slice that the next try takes up. A pod without a gate is nudged by an annotation:
kube-scheduler then tries it within a fraction of a second instead of minutes.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from vgpu.api import names
from vgpu_kube import errors, logs
from vgpu_webhooks.extender import hold, pods, release, turns, view, writing

logger = logging.getLogger(__name__)

PARALLEL = 32
"""Writes to pods at the same time: where the API server is slow, fewer would be the limit of the queue."""

FAILURES = (hold.NotHeld, view.Unanswerable, writing.Standby, errors.KubeError)


class Usher:
    """Writes what a decision of the queue means; each method says whether it is done."""

    def __init__(
        self,
        *,
        writer: writing.Writer,
        holder: hold.Holder,
        releaser: release.Releaser,
        pod_turns: turns.Turns,
        stamp: Callable[[], str],
    ) -> None:
        self._writer = writer
        self._holder = holder
        self._releaser = releaser
        self._turns = pod_turns
        self._stamp = stamp
        self._limit = asyncio.Semaphore(PARALLEL)

    async def hold(self, places: Sequence[tuple[pods.Pod, str]]) -> bool:
        """All these pods have their slices; where one could not get it, the others give theirs back."""
        held = await asyncio.gather(*(self._hold(pod, node) for pod, node in places))
        if not all(held):
            for pod, _ in places:
                self._releaser.hasten(pod.uid)
        return all(held)

    async def tell(self, pod: pods.Pod, node: str, *, reign: int) -> bool:
        """kube-scheduler knows of the pod's place and may bind it."""
        if not pod.gates:
            return await self.wake(pod)
        async with self._limit:
            nominated = await _done(pod, self._writer.nominate(pod, node, reign=reign), "nominated")
        return nominated and await self.open(pod, reign=reign)

    async def wake(self, pod: pods.Pod) -> bool:
        """kube-scheduler looks at a pod without a gate again."""
        async with self._limit:
            nudge = {names.RETRY_ANNOTATION: self._stamp()}
            return await _done(pod, self._writer.annotate(pod, nudge), "woken")

    async def open(self, pod: pods.Pod, *, reign: int) -> bool:
        """The pod's gate is open."""
        async with self._limit:
            return await _done(pod, self._writer.ungate(pod, reign=reign), "ungated")

    async def _hold(self, pod: pods.Pod, node: str) -> bool:
        async with self._turns.turn(pod.uid):
            return await _done(pod, self._holder.hold(pod, node), "given a slice")


async def _done(pod: pods.Pod, work: Awaitable[object], what: str) -> bool:
    try:
        await work
    except FAILURES as error:
        logs.event(logger, logging.WARNING, f"pod not {what}", pod=pod, reason=error)
        return False
    logs.event(logger, logging.DEBUG, f"pod {what}", pod=pod)
    return True
