"""Which devices of which nodes belong to which pools, kept up to date node by node.

Summing five thousand nodes anew for every change of one of them would cost more than all the rest of the
operator; so each node's part of a pool is kept, and only the sums are taken on demand.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from vgpu import inventory, values


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What one node brings to one pool; ``largest_bytes`` is the most memory that one device may promise."""

    device_uuids: frozenset[str]
    capacity: values.Amounts
    largest_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """What all nodes bring to one pool."""

    nodes: int = 0
    devices: int = 0
    capacity: values.Amounts = values.NOTHING
    largest_bytes: int = 0


class Membership:
    """The parts of all nodes in all pools."""

    def __init__(self) -> None:
        self._pools: dict[str, values.Pool] = {}
        self._nodes: dict[str, values.Node] = {}
        self._parts: dict[str, dict[str, Part]] = {}
        self._pools_of: dict[str, set[str]] = {}
        self._totals: dict[str, Totals] = {}

    def see_pool(self, pool: values.Pool) -> None:
        """Take in a pool as it is now."""
        self.forget_pool(pool.name)
        self._pools[pool.name] = pool
        self._parts[pool.name] = {}
        for node in self._nodes.values():
            self._join(pool, node)

    def forget_pool(self, name: str) -> None:
        """A pool is gone."""
        self._pools.pop(name, None)
        self._totals.pop(name, None)
        for node in self._parts.pop(name, {}):
            self._pools_of[node].discard(name)

    def see_node(self, node: values.Node) -> None:
        """Take in a node as it is now."""
        self.forget_node(node.name)
        self._nodes[node.name] = node
        for pool in self._pools.values():
            self._join(pool, node)

    def forget_node(self, name: str) -> None:
        """A node is gone."""
        self._nodes.pop(name, None)
        for pool in self._pools_of.pop(name, ()):
            self._parts[pool].pop(name, None)
            self._totals.pop(pool, None)

    def pools_of(self, node: str) -> frozenset[str]:
        """The pools that a node has devices of."""
        return frozenset(self._pools_of.get(node, ()))

    def parts(self, pool: str) -> Mapping[str, Part]:
        """What each node brings to a pool, by the node's name."""
        return self._parts.get(pool, {})

    def totals(self, pool: str) -> Totals:
        """What all nodes together bring to a pool."""
        found = self._totals.get(pool)
        if found is None:
            found = self._totals[pool] = _sum(self.parts(pool))
        return found

    def overlaps(self, pool: str) -> Mapping[str, int]:
        """The other pools that select devices of this one too, and how many."""
        shared: dict[str, int] = {}
        for node, part in self.parts(pool).items():
            for other in self._pools_of[node]:
                common = part.device_uuids & self._parts[other][node].device_uuids if other != pool else ()
                if common:
                    shared[other] = shared.get(other, 0) + len(common)
        return shared

    def _join(self, pool: values.Pool, node: values.Node) -> None:
        devices = inventory.members(pool, node)
        if not devices:
            return
        self._parts[pool.name][node.name] = _part(pool, devices)
        self._pools_of.setdefault(node.name, set()).add(pool.name)
        self._totals.pop(pool.name, None)


def _part(pool: values.Pool, devices: tuple[values.Device, ...]) -> Part:
    promised = [inventory.capacity(pool, device) for device in devices if device.healthy]
    return Part(
        device_uuids=frozenset(device.uuid for device in devices),
        capacity=sum(promised, values.NOTHING),
        largest_bytes=max((amount.memory_bytes for amount in promised), default=0),
    )


def _sum(parts: Mapping[str, Part]) -> Totals:
    return Totals(
        nodes=len(parts),
        devices=sum(len(part.device_uuids) for part in parts.values()),
        capacity=values.Amounts(
            memory_bytes=sum(part.capacity.memory_bytes for part in parts.values()),
            compute_percent=sum(part.capacity.compute_percent for part in parts.values()),
        ),
        largest_bytes=max((part.largest_bytes for part in parts.values()), default=0),
    )
