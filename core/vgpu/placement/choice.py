"""The decision over all nodes: the best place for a request, or why no node has one.

The plain reading, one node after the other; ``board`` gives the same answer for many nodes and requests.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from vgpu import inventory, values
from vgpu.placement import eligibility, explain, links, policy


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
    return eligibility.fitting(room.devices, request)


def lack(room: inventory.NodeRoom, request: values.Request) -> str | None:
    """What a node lacks for the request, None if it fits; host memory is not looked at."""
    fits = fitting(room, request)
    if not eligibility.sides(fits, request):
        return explain.shortage(room, fits, request)
    if room.cpu_milli is not None and room.cpu_milli < request.pod_cpu_milli:
        return explain.LITTLE_CPU
    return None


def place(
    request: values.Request, rooms: Iterable[inventory.NodeRoom], chooser: policy.Policy
) -> Placement | NoFit:
    """The place with the lowest score; a tie goes to the smallest node name.

    The policy's score chooses the node. On it the nearest devices are taken, and among equally near ones
    those that the policy prefers.
    """
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
    found = ((chosen(room, request, chooser), room) for room in fits)
    best, room = min(found, key=lambda pair: (pair[0].score, pair[1].node))
    return Placement(node=room.node, device_uuids=linked(room, request, chooser) or best.device_uuids)


def chosen(room: inventory.NodeRoom, request: values.Request, chooser: policy.Policy) -> policy.Choice:
    """The policy's devices on a node where the request fits."""
    sides = eligibility.sides(fitting(room, request), request)
    found = [chooser.choose(room, side, eligibility.sized(request, side)) for side in sides]
    return min(found, key=lambda choice: choice.score)


def bound(room: inventory.NodeRoom, request: values.Request, chooser: policy.Bounded) -> float:
    """What tells whether a node is worth a close look: the policy's bound, leaving the demands aside.

    Without demands the score is not below it. With them it may be; so it shortlists and never rules out.
    """
    roomy = tuple(device for device in room.devices if eligibility.roomy(device, request))
    return chooser.bound(room, roomy, eligibility.sized(request, roomy))


def linked(
    room: inventory.NodeRoom, request: values.Request, chooser: policy.Policy
) -> tuple[str, ...] | None:
    """The nearest devices for a request of several on a node where it fits; None where all are so."""
    if request.device_count < 2:
        return None
    sides = eligibility.sides(fitting(room, request), request)
    if all(links.alike(side) for side in sides) and len(sides) == 1:
        return None
    found = [_nearest(room, side, request, chooser) for side in sides]
    nearest = max(links.total(devices) for devices in found)
    choices = [
        chooser.choose(room, devices, eligibility.sized(request, devices))
        for devices in found
        if links.total(devices) == nearest
    ]
    return min(choices, key=lambda choice: choice.score).device_uuids


def _nearest(
    room: inventory.NodeRoom, side: eligibility.Devices, request: values.Request, chooser: policy.Policy
) -> eligibility.Devices:
    """The nearest devices of a side; ties go by the order in which the policy would take them all."""
    everything = replace(eligibility.sized(request, side), device_count=len(side))
    preferred = chooser.choose(room, side, everything).device_uuids
    known = {device.uuid: device for device in side}
    return links.nearest([known[uuid] for uuid in preferred], request.device_count)


def _shortlisted(
    rooms: list[inventory.NodeRoom], request: values.Request, chooser: policy.Bounded
) -> list[inventory.NodeRoom]:
    by_bound: dict[float, list[inventory.NodeRoom]] = {}
    for room in sorted(rooms, key=lambda room: room.node):
        by_bound.setdefault(bound(room, request, chooser), []).append(room)
    lowest = sorted(by_bound)[: chooser.shortlist]
    return [room for each in lowest for room in by_bound[each][: chooser.peers]]


def memory_lack(room: inventory.NodeRoom, request: values.Request) -> str | None:
    """The reason if the node is known to have too little host memory for the pod."""
    if room.memory_bytes is None or room.memory_bytes >= request.pod_memory_bytes:
        return None
    return explain.LITTLE_MEMORY
