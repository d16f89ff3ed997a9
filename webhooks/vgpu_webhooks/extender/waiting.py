"""Who waits for a place, and who has one and is on the way to its Binding.

Pods wait in our queue behind their gate, or without one because kube-scheduler has asked for them in vain.
What is on the way is bounded: kube-scheduler gets no more than it can bind, and those behind keep their
order.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from vgpu import values
from vgpu_kube import informer
from vgpu_webhooks.extender import gangs, pods, release, view

WINDOW = 64
"""How many pods are on the way at a time: enough for kube-scheduler to be busy while the next are decided."""

NOMINATED_SECONDS = 30.0
"""How long a pod with an open gate is on the way; its slice lasts as long (``release.UNBOUND_SECONDS``)."""

WOKEN_SECONDS = 5.0
"""How long the promise to a woken pod lasts. Where its Filter has not come by then, kube-scheduler has
looked at the pod and has a reason of its own; it asks again when that has changed."""

PAUSE_SECONDS = 1.0
"""A pod that came in vain is tried again after so long at the earliest."""

Stamp = tuple[int, int]
"""What a no depends on: as long as it is the same, so is the no."""


@dataclass(slots=True)
class Entry:
    """A pod that waits; ``offered`` are the nodes of kube-scheduler's last question, None before it."""

    pod: pods.Pod
    offered: frozenset[str] | None = None
    not_before: float = 0.0
    answered: Stamp | None = None
    no_room_since: float | None = None
    request: values.Request | None = None
    asked_as_of: int = 0


@dataclass(frozen=True, slots=True)
class _UnderWay:
    pod: pods.Pod
    slice_id: str
    until: float


class Waiting:
    """The pods that wait and those under way; ``stirred`` is called when a round may find something to do."""

    def __init__(
        self,
        *,
        seen: view.View,
        releaser: release.Releaser,
        clock: Callable[[], float],
        stirred: Callable[[], None],
        left: Callable[[pods.Pod], None],
    ) -> None:
        self._view = seen
        self._releaser = releaser
        self._clock = clock
        self._stirred = stirred
        self._left = left
        self._leading = False
        self._entries: dict[str, Entry] = {}
        self._under_way: dict[str, _UnderWay] = {}
        self._last_offer: frozenset[str] = frozenset()
        seen.pods.subscribe(self._pod_changed)

    @property
    def entries(self) -> Collection[Entry]:
        """Those that wait, in no order."""
        return self._entries.values()

    @property
    def under_way(self) -> int:
        """How many are on the way."""
        return len(self._under_way)

    @property
    def room(self) -> int:
        """How many more may be on the way."""
        return WINDOW - self.under_way

    def coming(self) -> Counter[gangs.Key]:
        """How many pods of each claim are on the way."""
        return Counter(gangs.key(each.pod) for each in self._under_way.values())

    def waits(self, entry: Entry) -> bool:
        """Whether this entry still stands."""
        return self._entries.get(entry.pod.uid) is entry

    # What the process's own role makes of it.

    def adopt(self, waiting: Iterable[pods.Pod]) -> None:
        """The process decides from now on; somebody else may have begun with any of these pods."""
        self._leading = True
        for pod in waiting:
            self._entries.setdefault(pod.uid, Entry(pod))

    def reset(self) -> None:
        """Forgets everything: another process goes on."""
        self._leading = False
        self._entries.clear()
        self._under_way.clear()

    # What kube-scheduler says.

    def refused(self, pod: pods.Pod, offered: Collection[str]) -> None:
        """Filter had no place for the pod among these nodes."""
        seen = self._view.pod(pod.uid)
        if not self._leading or (seen is not None and not seen.waits):
            return
        in_vain = self._under_way.pop(pod.uid, None) is not None
        entry = self._entries.setdefault(pod.uid, Entry(pod))
        entry.offered, entry.answered = self._offer(offered), None
        if in_vain:
            entry.not_before = self._clock() + PAUSE_SECONDS
            self._scatter(pod)
        self._stirred()

    def placed(self, pod: pods.Pod, slice_id: str) -> None:
        """Filter had a place for the pod: it is on the way."""
        self.start(pod, slice_id, NOMINATED_SECONDS)

    def bound(self, uid: str) -> None:
        """The pod has arrived."""
        self._entries.pop(uid, None)
        if self._under_way.pop(uid, None) is not None:
            self._stirred()

    # What rounds make of them.

    def start(self, pod: pods.Pod, slice_id: str, seconds: float) -> None:
        """The pod has a place and is on the way for so long at most."""
        self._entries.pop(pod.uid, None)
        self._under_way[pod.uid] = _UnderWay(pod, slice_id, self._clock() + seconds)

    def put_back(self, entry: Entry) -> None:
        """The pod was not led to its place: it waits on, and the place is free for others meanwhile."""
        under_way = self._under_way.pop(entry.pod.uid, None)
        seen = self._view.pod(entry.pod.uid)
        if under_way is not None:
            self._cancel(under_way.slice_id, entry.pod.uid)
        if seen is None or not (seen.queued or (seen.waits and under_way is not None)):
            return
        later = self._clock() + PAUSE_SECONDS
        self._entries[seen.uid] = Entry(seen, offered=entry.offered, not_before=later)
        self._stirred()

    def lapse(self) -> None:
        """Pods that did not arrive in time are not on the way any more; their promises are for others."""
        now = self._clock()
        for uid, each in list(self._under_way.items()):
            if each.until <= now:
                del self._under_way[uid]
                self._cancel(each.slice_id, uid)

    # What the cluster shows.

    def _pod_changed(self, change: informer.Change[pods.Pod]) -> None:
        pod = change.new or change.old
        if pod is None or not self._leading:
            return
        if change.new is None or not (pod.waits or pod.queued):
            self._forget(pod)
        elif pod.queued:
            self._arrive(pod)
        elif self._opened(pod):
            del self._entries[pod.uid]  # kube-scheduler asks about it now
        elif pod.refused and not (change.old is not None and change.old.refused):
            self._turned_down(pod)

    def _arrive(self, pod: pods.Pod) -> None:
        if pod.uid not in self._under_way and pod.uid not in self._entries:
            self._entries[pod.uid] = Entry(pod)
            self._stirred()

    def _opened(self, pod: pods.Pod) -> bool:
        entry = self._entries.get(pod.uid)
        return entry is not None and bool(entry.pod.gates) and not pod.gates

    def _turned_down(self, pod: pods.Pod) -> None:
        """kube-scheduler's own rules left no node: nothing is kept for the pod until it asks again."""
        under_way = self._under_way.pop(pod.uid, None)
        if under_way is not None:
            self._cancel(under_way.slice_id, pod.uid)
            self._releaser.hasten(pod.uid)
            self._scatter(pod)
            self._stirred()

    def _scatter(self, pod: pods.Pod) -> None:
        """One of a gang has no place: the others on the way start over with it, so they keep no room."""
        claim = self._view.claims.items.get(gangs.key(pod))
        if claim is None or claim.value.gang_pods == 1:
            return
        for uid, each in list(self._under_way.items()):
            if gangs.key(each.pod) == gangs.key(pod):
                del self._under_way[uid]
                self._cancel(each.slice_id, uid)
                self._releaser.hasten(uid)

    def _forget(self, pod: pods.Pod) -> None:
        """A pod that will not come again, being bound, finished or gone; its promise is free for others."""
        self._entries.pop(pod.uid, None)
        under_way = self._under_way.pop(pod.uid, None)
        self._left(pod)
        claim = self._view.claims.items.get(gangs.key(pod))
        for slice_id in (pod.uid, *(() if claim is None else (claim.value.ref.uid,))):
            self._cancel(slice_id, pod.uid)
        if under_way is not None:
            self._stirred()

    def _cancel(self, slice_id: str, uid: str) -> None:
        promise = self._view.book.promises.get(slice_id)
        if promise is not None and promise.request.pod.uid == uid:
            self._view.book.cancel(slice_id)
            self._stirred()

    def _offer(self, offered: Collection[str]) -> frozenset[str]:
        """One set for all pods that saw the same nodes."""
        offer = frozenset(offered)
        if offer != self._last_offer:
            self._last_offer = offer
        return self._last_offer
