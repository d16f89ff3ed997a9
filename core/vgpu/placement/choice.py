"""The decision over all nodes: the best place for a request, or why no node has one.

The plain reading, one node after the other; ``board`` gives the same answer for many nodes and requests.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from vgpu import inventory, values
from vgpu.placement import explain, policy


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
    """The devices of a node that the request accepts and that have room for its floor."""
    asked, models = request.requests, request.models
    return tuple(
        device
        for device in room.devices
        if device.free.covers(asked) and (not models or device.model in models)
    )


def lack(room: inventory.NodeRoom, request: values.Request) -> str | None:
    """What a node lacks for the request, None if it fits; host memory is not looked at."""
    fits = fitting(room, request)
    if len(fits) < request.device_count:
        return explain.shortage(room, fits, request)
    if room.cpu_milli is not None and room.cpu_milli < request.pod_cpu_milli:
        return explain.LITTLE_CPU
    return None


def place(
    request: values.Request, rooms: Iterable[inventory.NodeRoom], chooser: policy.Policy
) -> Placement | NoFit:
    """The place with the lowest score; a tie goes to the smallest node name."""
    reasons: dict[str, str] = {}
    fits: list[inventory.NodeRoom] = []
    for room in rooms:
        lacking = lack(room, request) or memory_lack(room, request)
        if lacking is None:
            fits.append(room)
        else:
            reasons[room.node] = lacking
    if not fits:
        return NoFit(reasons=reasons)
    if isinstance(chooser, policy.Bounded):
        fits = _shortlisted(fits, request, chooser)
    found = ((chooser.choose(room, fitting(room, request), request), room.node) for room in fits)
    best, node = min(found, key=lambda pair: (pair[0].score, pair[1]))
    return Placement(node=node, device_uuids=best.device_uuids)


def _shortlisted(
    rooms: list[inventory.NodeRoom], request: values.Request, chooser: policy.Bounded
) -> list[inventory.NodeRoom]:
    by_bound: dict[float, list[inventory.NodeRoom]] = {}
    for room in sorted(rooms, key=lambda room: room.node):
        bound = chooser.bound(room, fitting(room, request), request)
        by_bound.setdefault(bound, []).append(room)
    lowest = sorted(by_bound)[: chooser.shortlist]
    return [room for bound in lowest for room in by_bound[bound][: chooser.peers]]


def memory_lack(room: inventory.NodeRoom, request: values.Request) -> str | None:
    """The reason if the node is known to have too little host memory for the pod."""
    if room.memory_bytes is None or room.memory_bytes >= request.pod_memory_bytes:
        return None
    return explain.LITTLE_MEMORY
