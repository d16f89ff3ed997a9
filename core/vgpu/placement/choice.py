"""The decision over all nodes: the best place for a request, or why no node has one."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from vgpu import inventory, values
from vgpu.placement import explain, policies


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """One node and the devices on it, in the order the pod sees them."""

    node: str
    device_uuids: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NoFit:
    """No node has room; ``reasons`` says why for each, in words that group."""

    reasons: Mapping[str, str]

    @property
    def message(self) -> str:
        """The reasons by group of nodes, the largest group first."""
        return explain.summary(self.reasons)


def fitting(room: inventory.NodeRoom, request: values.Request) -> tuple[inventory.DeviceRoom, ...]:
    """The devices of a node that have room for the request's floor."""
    asked = request.requests
    return tuple(device for device in room.devices if device.free.covers(asked))


def place(
    request: values.Request, rooms: Iterable[inventory.NodeRoom], policy: policies.Policy
) -> Placement | NoFit:
    """The place with the lowest score; a tie goes to the smallest node name."""
    best: tuple[float, str, tuple[str, ...]] | None = None
    reasons: dict[str, str] = {}
    for room in rooms:
        fits = fitting(room, request)
        if len(fits) < request.device_count:
            reasons[room.node] = explain.shortage(room, fits, request)
            continue
        choice = policy.choose(room, fits, request)
        candidate = (choice.score, room.node, choice.device_uuids)
        best = candidate if best is None else min(best, candidate)
    if best is None:
        return NoFit(reasons=reasons)
    return Placement(node=best[1], device_uuids=best[2])
