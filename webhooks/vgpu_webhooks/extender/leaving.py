"""The pods that are leaving while the ledger still holds their slices.

Whoever waits first in the queue is promised what they will free (``reservations.Book.promise_ahead``).
Without that the pod that a controller makes at once for one that was evicted to make room would take that
room back.
"""

from collections.abc import Callable, Collection
from itertools import chain

from vgpu import values
from vgpu_kube import informer
from vgpu_webhooks.extender import pods, view


class Leaving:
    """Keeps the UIDs; ``stirred`` is called when another pod begins to leave."""

    def __init__(self, seen: view.View, *, stirred: Callable[[], None]) -> None:
        self._book = seen.book
        self._stirred = stirred
        self._uids: set[str] = set()
        self._begun = 0
        seen.pods.subscribe(self._pod_changed)
        seen.nodes.subscribe(self._node_changed)

    @property
    def uids(self) -> Collection[str]:
        """The pods whose end has begun and that hold a slice."""
        return self._uids

    @property
    def begun(self) -> int:
        """Grows whenever another pod begins to leave."""
        return self._begun

    def _pod_changed(self, change: informer.Change[pods.Pod]) -> None:
        pod = change.new or change.old
        if pod is None or pod.uid in self._uids or self._book.slice_of(pod.uid) is None:
            return
        if change.new is None or pod.deleting or pod.finished:
            self._uids.add(pod.uid)
            self._begun += 1
            self._stirred()

    def _node_changed(self, change: informer.Change[values.Node]) -> None:
        if self._uids and change.old is not None:
            left = {} if change.new is None else change.new.slices
            released = (slice_ for id_, slice_ in change.old.slices.items() if left.get(id_) != slice_)
            for pod in chain.from_iterable(slice_.pods for slice_ in released):
                if self._book.slice_of(pod.uid) is None:
                    self._uids.discard(pod.uid)
