"""The pods that are leaving while the ledger still holds their slices.

Whoever waits first in the queue is promised what they will free (``reservations.Book.promise_ahead``).
Without that the pod that a controller makes at once for one that was evicted to make room would take that
room back.
"""

from collections.abc import Callable, Collection, Iterator

from vgpu import values
from vgpu_kube import informer
from vgpu_webhooks.extender import pods, view


class Leaving:
    """Keeps the UIDs; ``stirred`` is called when another pod begins to leave."""

    def __init__(self, seen: view.View, *, stirred: Callable[[], None]) -> None:
        self._view = seen
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
        for pod in (change.old, change.new):
            if pod is not None and _goes(self._view.pod(pod.uid)):
                self._begin(pod.uid)

    def _node_changed(self, change: informer.Change[values.Node]) -> None:
        """Pods and nodes may be listed in any order: what the pods showed before is looked at here."""
        for uid in _holders(change.old) if self._uids else ():
            if self._book.slice_of(uid) is None:
                self._uids.discard(uid)
        for uid in _holders(change.new):
            pod = self._view.pod(uid)
            if pod is not None and _goes(pod):
                self._begin(uid)

    def _begin(self, uid: str) -> None:
        if uid not in self._uids and self._book.slice_of(uid) is not None:
            self._uids.add(uid)
            self._begun += 1
            self._stirred()


def _holders(node: values.Node | None) -> Iterator[str]:
    slices = () if node is None else node.slices.values()
    return (pod.uid for slice_ in slices for pod in slice_.pods)


def _goes(pod: pods.Pod | None) -> bool:
    return pod is None or pod.deleting or pod.finished
