"""Gangs: how many pods of a claim run, how many are still to start together, and the muster before Bind.

kube-scheduler knows nothing of gangs and binds pod by pod, by rules of its own besides ours. So the first
pods of a gang wait at Bind until all that start together have passed those rules; then all are bound.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

from vgpu_webhooks.extender import pods, view

WAITING = "WaitingForGang"
"""Why a pod waits whose gang has no place as a whole."""

MUSTER_SECONDS = 4.0
"""How long Bind waits for the rest of a gang; kube-scheduler gives up after 5 s (httpTimeout)."""

Key = tuple[str, str]
"""Namespace and name of a claim."""


class Gangs:
    """What is known of the claims whose pods start together."""

    def __init__(self, seen: view.View) -> None:
        self._view = seen
        self._running: Counter[Key] = Counter()
        seen.pods.subscribe(lambda change: self._count(change.old, change.new))

    def size(self, pod: pods.Pod) -> int:
        """How many pods of its claim start together, 1 where each starts by itself."""
        claim = self._view.claims.items.get(key(pod))
        return 1 if claim is None else claim.value.gang_pods

    def lacking(self, pod: pods.Pod) -> int:
        """How many of its gang have to start together now; 0 once the gang runs, or where there is none."""
        size = self.size(pod)
        return max(0, size - self._running[key(pod)]) if size > 1 else 0

    def reserved(self, pod: pods.Pod) -> bool:
        """Whether the pod has its part of a place for the whole gang."""
        book = self._view.book
        return book.slice_of(pod.uid) is not None or pod.uid in book.promises

    def runs(self, uid: str) -> bool:
        """Whether a pod is bound, or gone."""
        pod = self._view.pod(uid)
        return pod is None or pod.node is not None

    def _count(self, old: pods.Pod | None, new: pods.Pod | None) -> None:
        for pod, sign in ((old, -1), (new, 1)):
            if pod is not None and pod.claim is not None and pod.runs:
                self._running[key(pod)] += sign
                if not self._running[key(pod)]:
                    del self._running[key(pod)]


class Muster:
    """Where the pods of a gang wait for each other, each on its way to its Binding."""

    def __init__(
        self, gangs: Gangs, *, clock: Callable[[], float], sleep: Callable[[float], Awaitable[None]]
    ) -> None:
        self._gangs = gangs
        self._clock = clock
        self._sleep = sleep
        self._here: dict[Key, dict[str, asyncio.Event]] = {}
        self._called: dict[Key, dict[str, float]] = {}  # pod UID -> until when it counts as started

    async def complete(self, pod: pods.Pod) -> bool:
        """Waits until the whole gang is here, for a time; whether the pod may be bound."""
        lacking = self._gangs.lacking(pod) - self._starting(pod)
        if lacking <= 1 or pod.node is not None:
            return True
        here = self._here.setdefault(key(pod), {})
        here[pod.uid] = called = asyncio.Event()
        if len(here) >= lacking:
            self._call(pod)
        await self._called_in_time(called)
        if not called.is_set():
            here.pop(pod.uid, None)
        return called.is_set()

    def _call(self, pod: pods.Pod) -> None:
        """All go; until they are bound they count as started, for whoever of the claim comes after them."""
        here, until = self._here.pop(key(pod)), self._clock() + 2 * MUSTER_SECONDS
        self._called[key(pod)] = dict.fromkeys(here, until)
        for each in here.values():
            each.set()

    def _starting(self, pod: pods.Pod) -> int:
        """How many others of the claim have been called and are not bound yet."""
        now, called = self._clock(), self._called.get(key(pod), {})
        for uid, until in list(called.items()):
            if until <= now or self._gangs.runs(uid):
                del called[uid]
        if not called:
            self._called.pop(key(pod), None)
        return len(called.keys() - {pod.uid})

    async def _called_in_time(self, called: asyncio.Event) -> None:
        waits = [asyncio.ensure_future(called.wait()), asyncio.ensure_future(self._sleep(MUSTER_SECONDS))]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()


def key(pod: pods.Pod) -> Key:
    """The claim of a pod, which need not exist."""
    return pod.namespace, pod.claim or ""
