"""The room of one pool on all its nodes: as it is, without what is being returned, and at the floors.

Kept by deltas in arrays, so that a question to 40,000 devices takes a millisecond; the answers are bounds
that order the nodes to look at closely, and the close look is ``choice``'s.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy import typing as npt

from vgpu import inventory, values
from vgpu.placement import choice

CARDS = 8
NO_DEVICE = -1

Integers = npt.NDArray[np.int64]
Reading = Callable[[values.Node], inventory.NodeRoom]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """One node: its room ``now``, ``soon`` with what is being returned, ``least`` with all at floors."""

    node: values.Node
    now: inventory.NodeRoom
    soon: inventory.NodeRoom
    least: inventory.NodeRoom


class Survey:
    """The nodes of one pool; ``read`` is how the room of a node is read."""

    def __init__(self, read: Reading) -> None:
        self.read = read
        self._sights: dict[str, Sight] = {}
        self._slots: dict[str, int] = {}
        self._names: list[str | None] = []
        self._free_slots: list[int] = []
        self._now, self._soon, self._least = (_empty(64, CARDS) for _ in range(3))

    def __len__(self) -> int:
        """How many nodes of the pool are known."""
        return len(self._sights)

    def __iter__(self) -> Iterator[Sight]:
        """The nodes in no particular order."""
        return iter(self._sights.values())

    def __getitem__(self, name: str) -> Sight:
        """One node. Raises KeyError where it is not of the pool."""
        return self._sights[name]

    def see(self, node: values.Node) -> None:
        """Take in a new or changed node; one without devices of the pool is forgotten."""
        now = self.read(node)
        if not now.devices and not now.unusable:
            self.forget(node.name)
            return
        soon, least = settled(node), at_floors(node)
        sight = Sight(
            node=node,
            now=now,
            soon=now if soon is node else self.read(soon),
            least=now if least is node else self.read(least),
        )
        self._sights[node.name] = sight
        slot = self._slot(node.name, len(now.devices))
        for array, room in ((self._now, sight.now), (self._soon, sight.soon), (self._least, sight.least)):
            _write(array[slot], room)

    def forget(self, name: str) -> None:
        """The node is gone."""
        self._sights.pop(name, None)
        slot = self._slots.pop(name, None)
        if slot is not None:
            self._names[slot] = None
            self._free_slots.append(slot)
            for array in (self._now, self._soon, self._least):
                array[slot] = NO_DEVICE

    def roomy(self, request: values.Request) -> Iterator[Sight]:
        """The nodes where the request fits now."""
        for slot in np.flatnonzero(_fits(self._now, request)).tolist():
            sight = self._at(slot)
            if fits(sight.now, request):
                yield sight

    def at_floors(self, request: values.Request) -> list[Sight]:
        """The nodes that might have room if all slices went back to their floors, least to return first."""
        slots = np.flatnonzero(_fits(self._least, request))
        return self._ranked(slots, self._deficit(self._soon, request)[slots])

    def nearly(self, request: values.Request) -> list[Sight]:
        """All nodes with enough devices, those that lack least at the floors first."""
        lacking = self._deficit(self._least, request)
        slots = np.flatnonzero(np.isfinite(lacking))
        return self._ranked(slots, lacking[slots])

    def short(self, request: values.Request) -> list[Sight]:
        """All nodes with enough devices, those that lack least as they are first."""
        lacking = self._deficit(self._now, request)
        slots = np.flatnonzero(np.isfinite(lacking))
        return self._ranked(slots, lacking[slots])

    def by_memory(self, request: values.Request) -> Iterator[tuple[Sight, int]]:
        """Nodes with at most how many bytes per GPU they have for the request's compute, the most first."""
        return self._by_most(self._now[..., 0], self._now[..., 1], request.requests.compute_percent, request)

    def by_compute(self, request: values.Request) -> Iterator[tuple[Sight, int]]:
        """Nodes with at most how many percent per GPU they have for the request's memory, the most first."""
        return self._by_most(self._now[..., 1], self._now[..., 0], request.requests.memory_bytes, request)

    def by_devices(self, request: values.Request) -> Iterator[tuple[Sight, int]]:
        """Nodes with at most how many devices that fit, the most first."""
        counts = _fitting(self._now, request).sum(axis=1)
        return self._descending(counts, at_least=1)

    def _by_most(
        self, wanted: Integers, other: Integers, other_asked: int, request: values.Request
    ) -> Iterator[tuple[Sight, int]]:
        count = request.device_count
        if count > wanted.shape[1]:
            return iter(())
        usable = np.where(other >= other_asked, wanted, NO_DEVICE)
        return self._descending(np.sort(usable, axis=1)[:, -count], at_least=1)

    def _descending(self, bounds: Integers, *, at_least: int) -> Iterator[tuple[Sight, int]]:
        slots = np.flatnonzero(bounds >= at_least)
        for slot in slots[np.argsort(-bounds[slots], kind="stable")].tolist():
            yield self._at(slot), int(bounds[slot])

    def _deficit(self, array: Integers, request: values.Request) -> npt.NDArray[np.float64]:
        """What the best devices of each node lack together, in GPUs; infinite with too few devices."""
        count = request.device_count
        if count > array.shape[1]:
            return np.full(len(array), np.inf)
        memory = np.maximum(0, request.requests.memory_bytes - array[..., 0])
        compute = np.maximum(0, request.requests.compute_percent - array[..., 1])
        lacking = memory / max(1, request.requests.memory_bytes) + compute / 100.0
        lacking = np.where(array[..., 1] == NO_DEVICE, np.inf, lacking)
        found: npt.NDArray[np.float64] = np.sort(lacking, axis=1)[:, :count].sum(axis=1)
        return found

    def _ranked(self, slots: Integers, cost: npt.NDArray[np.float64]) -> list[Sight]:
        return [self._at(slot) for slot in slots[np.argsort(cost, kind="stable")].tolist()]

    def _at(self, slot: int) -> Sight:
        name = self._names[slot]
        assert name is not None
        return self._sights[name]

    def _slot(self, name: str, cards: int) -> int:
        slot = self._slots.get(name)
        if slot is None:
            if not self._free_slots:
                self._names.append(None)
                self._free_slots.append(len(self._names) - 1)
            slot = self._slots[name] = self._free_slots.pop()
            self._names[slot] = name
        rows, columns, _ = self._now.shape
        if slot >= rows or cards > columns:
            size = (max(rows, 2 * slot), max(columns, cards))
            self._now, self._soon, self._least = (
                _grown(array, *size) for array in (self._now, self._soon, self._least)
            )
        return slot


def fits(room: inventory.NodeRoom, request: values.Request) -> bool:
    """Whether placement would take this node for the request."""
    return choice.lack(room, request) is None


def settled(node: values.Node) -> values.Node:
    """The node once it has confirmed what the ledger says: shares being returned count as returned."""
    return charging(node, {id_: expected(node, slice_) for id_, slice_ in node.slices.items()})


def at_floors(node: values.Node) -> values.Node:
    """The node if every slice had gone back to its floor and given all above it."""
    return charging(node, {id_: slice_.requests for id_, slice_ in node.slices.items()})


def expected(node: values.Node, slice_: values.Slice) -> values.Amounts:
    """What a slice charges once its node has confirmed it; what an application holds on to stays charged."""
    enforced = node.enforced.get(slice_.id)
    if enforced is None or enforced.revision < slice_.revision:
        return slice_.allocated
    return inventory.charged(slice_, enforced)


def charging(node: values.Node, charges: dict[str, values.Amounts]) -> values.Node:
    """The node with slices that charge these amounts; the very node where they do already."""
    changed = {
        id_: _charging(node, node.slices[id_], amount)
        for id_, amount in charges.items()
        if amount != inventory.charged(node.slices[id_], node.enforced.get(id_))
    }
    return replace(node, slices={**node.slices, **changed}) if changed else node


def _charging(node: values.Node, slice_: values.Slice, amount: values.Amounts) -> values.Slice:
    """A slice that charges ``amount`` because its node has not confirmed anything else."""
    enforced = node.enforced.get(slice_.id)
    revision = slice_.revision if enforced is None else max(slice_.revision, enforced.revision + 1)
    return replace(slice_, allocated=amount, held_memory_bytes=amount.memory_bytes, revision=revision)


def _fitting(array: Integers, request: values.Request) -> npt.NDArray[np.bool_]:
    asked = request.requests
    found: npt.NDArray[np.bool_] = (array[..., 0] >= asked.memory_bytes) & (
        array[..., 1] >= asked.compute_percent
    )
    return found


def _fits(array: Integers, request: values.Request) -> npt.NDArray[np.bool_]:
    found: npt.NDArray[np.bool_] = _fitting(array, request).sum(axis=1) >= request.device_count
    return found


def _write(row: Integers, room: inventory.NodeRoom) -> None:
    row[:] = NO_DEVICE
    for at, device in enumerate(room.devices):
        free = device.free.at_least(values.NOTHING)
        row[at] = free.memory_bytes, free.compute_percent


def _empty(rows: int, columns: int) -> Integers:
    return np.full((rows, columns, 2), NO_DEVICE, np.int64)


def _grown(array: Integers, rows: int, columns: int) -> Integers:
    larger = _empty(rows, columns)
    larger[: array.shape[0], : array.shape[1]] = array
    return larger
