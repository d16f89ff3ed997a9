"""The promises of one placing process, found by slice, by node, by age and by who draws on which pool.

What may be promised, and when a promise is taken back, is ``reservations``'s to say.
"""

from collections.abc import Iterator, Mapping

from vgpu import inventory, values


class Promises:
    """Promises that all live equally long, so the oldest end first; one at most for a slice."""

    def __init__(self) -> None:
        self._by_slice: dict[str, inventory.Promise] = {}
        self._by_node: dict[str, dict[str, inventory.Promise]] = {}
        self._totals: dict[str, dict[str, values.Amounts]] = {}

    @property
    def by_slice(self) -> Mapping[str, inventory.Promise]:
        """All of them by slice id, the oldest first."""
        return self._by_slice

    def on(self, node: str) -> list[inventory.Promise]:
        """Those on one node."""
        return list(self._by_node.get(node, {}).values())

    def totals(self, pool_name: str) -> Mapping[str, values.Amounts]:
        """What is promised of a pool to each namespace, over all slices and devices."""
        return self._totals.get(pool_name, {})

    def add(self, promise: inventory.Promise) -> None:
        """Keep a promise to a slice that has none."""
        slice_id = promise.request.slice_id
        self._by_slice[slice_id] = promise
        self._by_node.setdefault(promise.node, {})[slice_id] = promise
        self._count(promise, 1)

    def pop(self, slice_id: str) -> inventory.Promise | None:
        """Take a promise back, None if there is none."""
        promise = self._by_slice.pop(slice_id, None)
        if promise is None:
            return None
        there = self._by_node[promise.node]
        del there[slice_id]
        if not there:
            del self._by_node[promise.node]
        self._count(promise, -1)
        return promise

    def due(self, now: float) -> Iterator[str]:
        """The slices whose promises have ended, the oldest first; they may be taken back meanwhile."""
        while self._by_slice:
            slice_id, oldest = next(iter(self._by_slice.items()))
            if oldest.expires_at > now:
                return
            yield slice_id

    def _count(self, promise: inventory.Promise, sign: int) -> None:
        totals = self._totals.setdefault(promise.request.pool_name, {})
        namespace = promise.request.claim.namespace
        left = totals.get(namespace, values.NOTHING) + promise.total.times(sign)
        if left == values.NOTHING:
            totals.pop(namespace, None)
        else:
            totals[namespace] = left
