"""The strategies: each looks at one node and names its best devices and a score.

A policy is asked only about nodes with enough fitting devices. The lowest score wins over all nodes; a tie
goes to the smallest node name, so the same state always gives the same place.
"""

from dataclasses import dataclass
from typing import Protocol

from vgpu import inventory, values


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The devices a policy would take on a node, in the order the pod sees them; a lower score is better."""

    device_uuids: tuple[str, ...]
    score: float


class Policy(Protocol):
    """Chooses devices on a node and scores the result."""

    def choose(
        self, room: inventory.NodeRoom, fitting: tuple[inventory.DeviceRoom, ...], request: values.Request
    ) -> Choice:
        """The best ``request.device_count`` of the ``fitting`` devices; at least so many are given."""
        ...


class BinPack:
    """Fills the fullest device of the fullest node that still fits: whole GPUs stay free longest."""

    def choose(
        self, room: inventory.NodeRoom, fitting: tuple[inventory.DeviceRoom, ...], request: values.Request
    ) -> Choice:
        """The fullest fitting devices; the score is the node's free share."""
        chosen = sorted(fitting, key=_free_share)[: request.device_count]
        return Choice(device_uuids=_uuids(chosen), score=_node_share(room))


class Spread:
    """Takes the emptiest device of the emptiest node: slices get room to grow and few neighbours."""

    def choose(
        self, room: inventory.NodeRoom, fitting: tuple[inventory.DeviceRoom, ...], request: values.Request
    ) -> Choice:
        """The emptiest fitting devices; the score is the node's used share."""
        chosen = sorted(fitting, key=_free_share, reverse=True)[: request.device_count]
        return Choice(device_uuids=_uuids(chosen), score=-_node_share(room))


def of(strategy: values.Strategy) -> Policy:
    """The policy that carries out a pool's strategy."""
    return _POLICIES[strategy]


def _free_share(device: inventory.DeviceRoom) -> float:
    return device.free_share


def _node_share(room: inventory.NodeRoom) -> float:
    return sum(device.free_share for device in room.devices) / len(room.devices)


def _uuids(devices: list[inventory.DeviceRoom]) -> tuple[str, ...]:
    return tuple(device.uuid for device in devices)


# LeastFragmentation packs like BinPack as long as its own measure is not there.
_POLICIES: dict[values.Strategy, Policy] = {
    values.Strategy.LEAST_FRAGMENTATION: BinPack(),
    values.Strategy.BIN_PACK: BinPack(),
    values.Strategy.SPREAD: Spread(),
}
