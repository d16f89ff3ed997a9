"""Giving slices back: at once when their pod is gone or finished, in the end when it was never bound.

Compares what the ledger holds with the pods there are, so it does not matter which event was missed or which
process died in between. Every release asks the API server about the pod first, unless its end is known.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from enum import Enum

from vgpu import ledger, values
from vgpu_kube import errors, informer, logs
from vgpu_webhooks.extender import pods, turns, view, writing

logger = logging.getLogger(__name__)

UNBOUND_SECONDS = 30.0
"""How long a slice waits for its pod to be bound, from when it was first seen so."""

RECHECK_SECONDS = 30.0
"""How often a pod is asked about that lives but is not among the labelled ones."""

PARALLEL = 16


class Cause(Enum):
    """Why a slice is given back."""

    GONE = "PodGone"
    FINISHED = "PodFinished"
    NEVER_BOUND = "PodNeverBound"
    BOUND_ELSEWHERE = "PodBoundElsewhere"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Due:
    uid: str
    node: str
    cause: Cause


class Releaser:
    """Knows which pods in the ledger are not known to be well, and gives back what they hold."""

    def __init__(
        self,
        *,
        seen: view.View,
        writer: writing.Writer,
        pod_turns: turns.Turns,
        clock: Callable[[], float],
        released: Callable[[Cause], None],
        stirred: Callable[[], None],
    ) -> None:
        self._view = seen
        self._writer = writer
        self._turns = pod_turns
        self._clock = clock
        self._released = released
        self._stirred = stirred
        self._unsettled: dict[str, float] = {}  # pod UID -> since when
        self._ask_again: dict[str, float] = {}  # pod UID -> not before
        seen.nodes.subscribe(self._node_changed)
        seen.pods.subscribe(self._pod_changed)

    async def sweep(self) -> None:
        """Gives back everything that is due; what could not be written stays due."""
        now = self._clock()
        due = [each for uid in list(self._unsettled) if (each := self._due(uid, now)) is not None]
        by_node: dict[str, list[_Due]] = {}
        for each in due:
            by_node.setdefault(each.node, []).append(each)
        limit = asyncio.Semaphore(PARALLEL)
        await asyncio.gather(*(self._release(node, each, limit) for node, each in by_node.items()))

    async def take_back(self, pod: pods.Pod, node: str) -> None:
        """Frees the slice of an unbound pod on ``node``, for it is to be placed anew.

        Raises view.Unanswerable where the pod is bound, writing.Standby or KubeError where it cannot be done.
        """
        async with self._turns.turn(pod.uid):
            current = await self._view.current_pod(pod.namespace, pod.name, pod.uid)
            if current is not None and current.node is not None:
                raise view.Unanswerable(
                    "AlreadyBound", f"expected pod {pod} to be unbound, found it bound to {current.node}"
                )
            await self.give_back(pod.uid, node)

    async def give_back(self, uid: str, node: str) -> None:
        """Takes a pod out of its slice on ``node``; the caller has the pod's turn and knows it is unbound."""
        await self._give_back({uid}, node)

    def hasten(self, uid: str) -> None:
        """What an unbound pod holds goes back now, not when its time is up: it will not be bound there."""
        if self._view.book.slice_of(uid) is not None:
            self._unsettled[uid] = self._clock() - UNBOUND_SECONDS
            self._ask_again.pop(uid, None)
            self._stirred()

    async def _give_back(self, uids: set[str], node: str) -> None:
        if uids:
            await self._writer.change(node, lambda known: ledger.release(known, uids), point="release")

    def _due(self, uid: str, now: float) -> _Due | None:
        found = self._view.book.slice_of(uid)
        if found is None:
            self._settle(uid)
            return None
        if self._turns.taken(uid) or self._ask_again.get(uid, now) > now:
            return None
        pod = self._view.pod(uid)
        if _well(pod, found[0].name):
            self._settle(uid)
            return None
        cause = self._cause(uid, found[0].name, pod, now)
        return None if cause is None else _Due(uid=uid, node=found[0].name, cause=cause)

    def _cause(self, uid: str, node: str, pod: pods.Pod | None, now: float) -> Cause | None:
        if pod is None:
            return Cause.GONE
        if pod.finished:
            return Cause.FINISHED
        if pod.node is not None:
            return None if pod.node == node else Cause.BOUND_ELSEWHERE
        since = self._unsettled.get(uid, now)
        return Cause.NEVER_BOUND if now - since >= UNBOUND_SECONDS else None

    async def _release(self, node: str, due: list[_Due], limit: asyncio.Semaphore) -> None:
        """Gives back what is due on one node, in one write."""
        async with limit, AsyncExitStack() as held:
            free = [each for each in due if not self._turns.taken(each.uid)]
            for each in free:
                await held.enter_async_context(self._turns.turn(each.uid))
            try:
                agreed = await asyncio.gather(*(self._confirmed(each) for each in free))
                certain = [each for each, agrees in zip(free, agreed, strict=True) if agrees]
                await self._give_back({each.uid for each in certain}, node)
            except (errors.KubeError, writing.Standby) as error:
                logs.event(
                    logger, logging.WARNING, "release put off", node=node, pods=len(free), reason=error
                )
            else:
                self._tell(node, certain)

    def _tell(self, node: str, certain: list[_Due]) -> None:
        for each in certain:
            self._settle(each.uid)
            self._released(each.cause)
            cause = each.cause.value
            logs.event(logger, logging.INFO, "slice released", pod=each.uid, node=node, reason=cause)

    async def _confirmed(self, due: _Due) -> bool:
        """Whether the API server agrees: caches lag, and a wrong release frees memory in use."""
        if due.cause is Cause.FINISHED:
            return True
        found = self._view.book.slice_of(due.uid)
        pod = None if found is None else _pod_in(found[1], due.uid)
        if found is None or pod is None:
            return False
        current = await self._view.current_pod(found[1].claim.namespace, pod.name, due.uid)
        if self._cause(due.uid, due.node, current, self._clock()) is not None:
            return True
        self._ask_again[due.uid] = self._clock() + RECHECK_SECONDS
        return False

    def _settle(self, uid: str) -> None:
        self._unsettled.pop(uid, None)
        self._ask_again.pop(uid, None)

    def _suspect(self, uids: Iterable[str]) -> None:
        for uid in uids:
            self._unsettled.setdefault(uid, self._clock())
            self._stirred()

    def _node_changed(self, change: informer.Change[values.Node]) -> None:
        if change.new is not None:
            uids = (pod.uid for slice_ in change.new.slices.values() for pod in slice_.pods)
            self._suspect(uid for uid in uids if not _well(self._view.pod(uid), change.key[1]))

    def _pod_changed(self, change: informer.Change[pods.Pod]) -> None:
        for pod in (change.old, change.new):
            if pod is not None and self._view.book.slice_of(pod.uid) is not None:
                self._ask_again.pop(pod.uid, None)
                self._suspect([pod.uid])


def _well(pod: pods.Pod | None, node: str) -> bool:
    """Whether a pod lives on the node that holds its slice."""
    return pod is not None and pod.node == node and not pod.finished


def _pod_in(slice_: values.Slice, uid: str) -> values.PodRef | None:
    return next((pod for pod in slice_.pods if pod.uid == uid), None)
