"""Pods that wait: who was refused, in which order they go on, and the nudge that makes kube-scheduler look.

A refused pod rests in kube-scheduler for up to five minutes. Whenever room or quota may have appeared, the
pods that now have a place are promised it, in order of priority and age, and an annotation of ours is
patched on them: kube-scheduler then tries them within a fraction of a second. A pod is woken for places
only that kube-scheduler itself offered last, so the two never send a pod back and forth.
"""

import asyncio
import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass

from vgpu import values
from vgpu.api import names
from vgpu.placement import choice
from vgpu_kube import errors, informer, logs
from vgpu_webhooks.extender import pods, view, writing

logger = logging.getLogger(__name__)

PATIENCE_SECONDS = 5.0
"""How long the promise to a woken pod lasts. Where its Filter has not come by then, kube-scheduler has
looked at the pod and has a reason of its own; it asks again when that has changed."""

PAUSE_SECONDS = 1.0
"""A pod is woken at most once in so long."""

PARALLEL = 16


@dataclass(frozen=True, slots=True)
class _Waiting:
    pod: pods.Pod
    offered: frozenset[str] | None  # None: kube-scheduler has not asked this process yet
    not_before: float


class Waker:
    """The pods that wait, and those that have been woken and not come yet."""

    def __init__(
        self,
        *,
        seen: view.View,
        writer: writing.Writer,
        clock: Callable[[], float],
        stamp: Callable[[], str],
        stirred: Callable[[], None],
    ) -> None:
        self._view = seen
        self._writer = writer
        self._clock = clock
        self._stamp = stamp
        self._stirred = stirred
        self._waiting: dict[str, _Waiting] = {}
        self._woken: dict[str, tuple[str, float]] = {}  # pod UID -> slice id, until
        self._last_offer: frozenset[str] = frozenset()
        seen.pods.subscribe(self._pod_changed)

    @property
    def waiting(self) -> int:
        """How many pods wait."""
        return len(self._waiting)

    def refused(self, pod: pods.Pod, offered: Collection[str]) -> None:
        """Filter had no place for the pod among these nodes."""
        seen = self._view.pod(pod.uid)
        if seen is not None and not seen.waits:
            return
        came_in_vain = self._woken.pop(pod.uid, None) is not None
        offer = frozenset(offered)
        if offer == self._last_offer:
            offer = self._last_offer  # one set for all pods that saw the same nodes
        self._last_offer = offer
        known = self._waiting.get(pod.uid)
        not_before = self._clock() + PAUSE_SECONDS if came_in_vain else (known.not_before if known else 0.0)
        self._waiting[pod.uid] = _Waiting(pod, offer, not_before)

    def placed(self, uid: str) -> None:
        """Filter had a place for the pod: it waits no longer."""
        self._waiting.pop(uid, None)
        self._woken.pop(uid, None)

    def adopt(self, waiting: Collection[pods.Pod]) -> None:
        """Pods that somebody else may have refused."""
        for pod in waiting:
            self._waiting.setdefault(pod.uid, _Waiting(pod, None, 0.0))

    def reset(self) -> None:
        """Forgets everything: another process goes on."""
        self._waiting.clear()
        self._woken.clear()

    async def round(self) -> None:
        """Promises places to those that wait, in order, and wakes them."""
        self._lapse()
        limit = asyncio.Semaphore(PARALLEL)
        await asyncio.gather(*[self._wake(entry, limit) for entry in await self._promise_in_order()])

    async def _promise_in_order(self) -> list[_Waiting]:
        """The pods that have just been promised a place; once one found none, its equals are not tried."""
        promised: list[_Waiting] = []
        hopeless: set[object] = set()
        for entry in sorted(self._waiting.values(), key=_order):
            request = self._request(entry)
            if request is None:
                continue
            kind = (request.pool_name, request.claim, request.requests, request.device_count, entry.offered)
            if kind in hopeless:
                continue
            if self._place(request, entry):
                self._woken[entry.pod.uid] = (request.slice_id, self._clock() + PATIENCE_SECONDS)
                del self._waiting[entry.pod.uid]
                promised.append(entry)
            else:
                hopeless.add(kind)
            await asyncio.sleep(0)  # many thousand nodes may have been looked at: Filter comes first
        return promised

    def _request(self, entry: _Waiting) -> values.Request | None:
        """What a pod asks for, None where it is not to be woken now."""
        if self._waiting.get(entry.pod.uid) is not entry or entry.not_before > self._clock():
            return None
        try:
            return self._view.known_request_of(entry.pod)
        except view.Unanswerable:
            return None

    def _place(self, request: values.Request, entry: _Waiting) -> bool:
        offered = self._view.book.nodes.keys() if entry.offered is None else entry.offered
        found = self._view.book.place(request, offered, now=self._clock())
        return isinstance(found, choice.Placement)

    async def _wake(self, entry: _Waiting, limit: asyncio.Semaphore) -> None:
        async with limit:
            try:
                await self._writer.annotate(entry.pod, {names.RETRY_ANNOTATION: self._stamp()})
            except (errors.NotFound, errors.Conflict):
                self._forget(entry.pod)  # gone, or a successor of that name
            except (errors.KubeError, writing.Standby) as error:
                logs.event(logger, logging.WARNING, "pod not woken", pod=entry.pod, reason=error)
                self._wait_on(entry)
            else:
                logs.event(logger, logging.INFO, "pod woken", pod=entry.pod)

    def _wait_on(self, entry: _Waiting) -> None:
        """The nudge may not have arrived: the pod waits on, and its place is free for others meanwhile."""
        woken = self._woken.pop(entry.pod.uid, None)
        if woken is not None:
            self._cancel(woken[0], entry.pod.uid)
            later = self._clock() + PAUSE_SECONDS
            self._waiting[entry.pod.uid] = _Waiting(entry.pod, entry.offered, later)

    def _lapse(self) -> None:
        """Woken pods that did not come: their promise is free for others."""
        now = self._clock()
        for uid, (slice_id, until) in list(self._woken.items()):
            if until <= now:
                del self._woken[uid]
                self._cancel(slice_id, uid)

    def _pod_changed(self, change: informer.Change[pods.Pod]) -> None:
        pod = change.new or change.old
        if pod is not None and (change.new is None or not change.new.waits):
            self._forget(pod)

    def _forget(self, pod: pods.Pod) -> None:
        """A pod that will not come again, being bound, finished or gone; its promise is free for others."""
        self._waiting.pop(pod.uid, None)
        self._woken.pop(pod.uid, None)
        claim = None if pod.claim is None else self._view.claims.items.get((pod.namespace, pod.claim))
        for slice_id in (pod.uid, *(() if claim is None else (claim.value.ref.uid,))):
            self._cancel(slice_id, pod.uid)

    def _cancel(self, slice_id: str, uid: str) -> None:
        promise = self._view.book.promises.get(slice_id)
        if promise is not None and promise.request.pod.uid == uid:
            self._view.book.cancel(slice_id)
            self._stirred()


def _order(entry: _Waiting) -> tuple[int, str, str]:
    return -entry.pod.priority, entry.pod.created, entry.pod.uid
