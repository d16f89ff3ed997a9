"""Which pods restart elsewhere, so that a waiting request fits where they are: the least memory first.

The search is bounded: few nodes, at most three pods of one of them. Each pod has a proven place, with those
of the others taken off. Whether anybody acts on a proposal is another's decision.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from vgpu import inventory, ledger, values
from vgpu.placement import choice, policies
from vgpu.room import changes, returning, scene, survey

NODES = 16
GROUPS = 4
PODS = 8
MOST = 3
PLACES = 32
"""The bounds: nodes, groups of devices on each, pods of a group, pods that move, places tried for each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mobile:
    """A pod that may be restarted: what it will ask for then, and the nodes that it accepts."""

    request: values.Request
    accepts: Callable[[values.Node], bool]


Mobility = Callable[[values.Slice], Mobile | None]
"""What is known of a slice's pod; None where it must stay."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Moves off one node, and what others return there besides, if that is needed."""

    moved: changes.MovePods
    returned: changes.ReturnShares | None

    @property
    def changes(self) -> tuple[changes.Change, ...]:
        """What it takes, in this order."""
        return (self.moved,) if self.returned is None else (self.moved, self.returned)

    @property
    def cost(self) -> tuple[int, int, str]:
        """The least moved memory is best."""
        return self.moved.memory_bytes, len(self.moved.moves), self.moved.node


def plan(at: scene.Scene, request: values.Request, mobility: Mobility) -> Plan | None:
    """The cheapest moves that make room for the request, None where none are found; quotas are not asked."""
    best: Plan | None = None
    for sight in itertools.islice(at.nearly(request), NODES):
        found = _off_node(at, sight, request, mobility, below=best)
        best = found if best is None or (found is not None and found.cost < best.cost) else best
    return best


def _off_node(
    at: scene.Scene,
    sight: survey.Sight,
    request: values.Request,
    mobility: Mobility,
    *,
    below: Plan | None,
) -> Plan | None:
    """The cheapest moves off one node that are cheaper than another plan."""
    for slices in sorted(_candidates(at, sight, request, mobility), key=_memory):
        if below is not None and _memory(slices) >= below.moved.memory_bytes:
            return None
        found = _proven(at, sight.node, slices, request, mobility)
        if found is not None:
            return found
    return None


def _proven(
    at: scene.Scene,
    node: values.Node,
    slices: tuple[values.Slice, ...],
    request: values.Request,
    mobility: Mobility,
) -> Plan | None:
    gone = ledger.release(node, {pod.uid for slice_ in slices for pod in slice_.pods})
    left = ledger.staged(node, gone)
    enough = survey.fits(at.survey.read(left), request)
    returned = None if enough else returning.on_node(at, left, request)
    if not enough and returned is None:
        return None
    moves = _places(at, node.name, slices, mobility)
    if moves is None:
        return None
    return Plan(moved=changes.MovePods(node=node.name, moves=moves), returned=returned)


def _candidates(
    at: scene.Scene, sight: survey.Sight, request: values.Request, mobility: Mobility
) -> Iterator[tuple[values.Slice, ...]]:
    """Sets of slices that might free enough, by amounts alone."""
    movable = [
        slice_
        for slice_ in sight.node.slices.values()
        if _may_move(slice_, at.pool, request) and mobility(slice_) is not None
    ]
    for devices in _groups(sight.least, request):
        uuids = {device.uuid for device in devices}
        near = sorted((each for each in movable if uuids.intersection(each.device_uuids)), key=_size)[:PODS]
        for count in range(1, MOST + 1):
            for chosen in itertools.combinations(near, count):
                if all(_enough(device, chosen, request) for device in devices):
                    yield chosen


def _groups(room: inventory.NodeRoom, request: values.Request) -> Iterator[tuple[inventory.DeviceRoom, ...]]:
    """Groups of as many devices as asked, those that lack least first."""
    count = request.device_count

    def lacking(device: inventory.DeviceRoom) -> tuple[int, int, str]:
        short = (request.requests - device.free).at_least(values.NOTHING)
        return short.memory_bytes, short.compute_percent, device.uuid

    devices = sorted(room.devices, key=lacking)
    for first in range(min(GROUPS, len(devices) - count + 1)):
        yield tuple(devices[first : first + count])


def _enough(device: inventory.DeviceRoom, chosen: tuple[values.Slice, ...], request: values.Request) -> bool:
    freed = (slice_.requests for slice_ in chosen if device.uuid in slice_.device_uuids)
    return sum(freed, device.free).covers(request.requests)


def _may_move(slice_: values.Slice, pool: values.Pool, request: values.Request) -> bool:
    """A slice of one pod of its own, of the pool, and not above the waiting request's priority."""
    alone = len(slice_.pods) == 1 and slice_.id == slice_.pods[0].uid
    return alone and slice_.pool_name == pool.name and slice_.priority <= request.priority


def _size(slice_: values.Slice) -> tuple[int, str]:
    return slice_.held_memory_bytes * len(slice_.device_uuids), slice_.id


def _memory(slices: tuple[values.Slice, ...]) -> int:
    return sum(_size(slice_)[0] for slice_ in slices)


def _places(
    at: scene.Scene, away_from: str, slices: tuple[values.Slice, ...], mobility: Mobility
) -> tuple[changes.Move, ...] | None:
    """A place for each, the largest first; None where one has none."""
    filled: dict[str, values.Node] = {}
    moves: list[changes.Move] = []
    for slice_ in sorted(slices, key=_size, reverse=True):
        mobile = mobility(slice_)
        target = None if mobile is None else _place(at, away_from, mobile, filled)
        if target is None:
            return None
        memory_bytes = _size(slice_)[0]
        moves.append(
            changes.Move(claim=slice_.claim, pod=slice_.pods[0], to=target, memory_bytes=memory_bytes)
        )
    return tuple(moves)


def _place(at: scene.Scene, away_from: str, mobile: Mobile, filled: dict[str, values.Node]) -> str | None:
    """The first node with room, which it fills."""
    request = mobile.request
    for sight in itertools.islice(at.survey.roomy(request), PLACES):
        node = filled.get(sight.node.name, sight.node)
        if node.name == away_from or not mobile.accepts(node):
            continue
        found = choice.place(request, [at.survey.read(node)], _ANY)
        if isinstance(found, choice.NoFit):
            continue
        held = ledger.hold(at.pool, node, request, found.device_uuids)
        if isinstance(held, ledger.Change):
            filled[node.name] = ledger.staged(node, held)
            return node.name
    return None


_ANY = policies.of(values.Strategy.BIN_PACK)
