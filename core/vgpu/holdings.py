"""Who holds what by the ledger: the nodes as last seen, and their slices by pod, by node and by namespace.

Growth that has been granted counts until the node shows it. Promises, and what may be given at all, are
``reservations``'s.
"""

from collections.abc import Iterator, Mapping

from vgpu import inventory, values

Totals = Mapping[str, values.Amounts]
"""By namespace, over slices and their GPUs."""


class Holdings:
    """An index of the nodes' slices, kept by deltas."""

    def __init__(self) -> None:
        self._nodes: dict[str, values.Node] = {}
        self._slice_nodes: dict[str, str] = {}
        self._pod_slices: dict[str, str] = {}
        self._used: dict[str, dict[str, values.Amounts]] = {}
        self._growing: dict[str, tuple[str, str, values.Amounts]] = {}

    @property
    def nodes(self) -> Mapping[str, values.Node]:
        """The nodes by name."""
        return self._nodes

    def __contains__(self, slice_id: str) -> bool:
        """Whether the ledger has this slice."""
        return slice_id in self._slice_nodes

    def __iter__(self) -> Iterator[values.Slice]:
        """All slices."""
        return (slice_ for node in self._nodes.values() for slice_ in node.slices.values())

    def see(self, node: values.Node) -> None:
        """Take in a node in place of what was known of it."""
        self._drop(self._nodes.get(node.name), node.slices)
        self._nodes[node.name] = node
        for slice_ in node.slices.values():
            self._slice_nodes[slice_.id] = node.name
            if slice_.wanted is None:
                self.settle(slice_.id)
            for pod in slice_.pods:
                self._pod_slices[pod.uid] = slice_.id
        self._count(node, 1)

    def forget(self, name: str) -> None:
        """A node is gone, and its slices with it."""
        self._drop(self._nodes.pop(name, None), {})

    def slice(self, slice_id: str) -> tuple[values.Node, values.Slice] | None:
        """A slice and its node."""
        name = self._slice_nodes.get(slice_id)
        if name is None:
            return None
        node = self._nodes[name]
        return node, node.slices[slice_id]

    def of_pod(self, uid: str) -> tuple[values.Node, values.Slice] | None:
        """The slice that a pod lives in, and its node."""
        slice_id = self._pod_slices.get(uid)
        return None if slice_id is None else self.slice(slice_id)

    def used(self, pool_name: str) -> dict[str, values.Amounts]:
        """What each namespace holds of a pool, growth under way included."""
        totals = dict(self._used.get(pool_name, {}))
        for growing_pool, namespace, amount in self._growing.values():
            if growing_pool == pool_name:
                add(totals, {namespace: amount})
        return totals

    def grow(self, slice_id: str, pool_name: str, namespace: str, extra: values.Amounts) -> None:
        """A growth by ``extra``, over all GPUs of the slice, is under way."""
        self._growing[slice_id] = (pool_name, namespace, extra)

    def settle(self, slice_id: str) -> None:
        """The growth of a slice is not under way any more: written and seen, or given up."""
        self._growing.pop(slice_id, None)

    def _drop(self, node: values.Node | None, left: Mapping[str, values.Slice]) -> None:
        """Takes a node's slices out of the index; those not ``left`` do not grow any more."""
        if node is None:
            return
        for slice_ in node.slices.values():
            if slice_.id not in left:
                self.settle(slice_.id)
            if self._slice_nodes.get(slice_.id) == node.name:
                del self._slice_nodes[slice_.id]
                for pod in slice_.pods:
                    self._pod_slices.pop(pod.uid, None)
        self._count(node, -1)

    def _count(self, node: values.Node, sign: int) -> None:
        for (pool_name, namespace), amount in usage(node).items():
            add(self._used.setdefault(pool_name, {}), {namespace: amount.times(sign)})


def add(totals: dict[str, values.Amounts], more: Totals) -> None:
    """Add amounts to totals by namespace, in place."""
    for namespace, amount in more.items():
        totals[namespace] = totals.get(namespace, values.NOTHING) + amount


def usage(node: values.Node) -> dict[tuple[str, str], values.Amounts]:
    """What each (pool, namespace) holds on a node: totals over slices and their GPUs."""
    totals: dict[tuple[str, str], values.Amounts] = {}
    for slice_ in node.slices.values():
        key = (slice_.pool_name, slice_.claim.namespace)
        amount = inventory.charged(slice_, node.enforced.get(slice_.id)).times(len(slice_.device_uuids))
        totals[key] = totals.get(key, values.NOTHING) + amount
    return totals
