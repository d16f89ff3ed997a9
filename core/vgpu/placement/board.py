"""The decision over all nodes, kept fast: scores per size of request, brought up to date where nodes changed.

The answers are those of ``choice.place`` on the same rooms and policy. What a policy says of a node depends
on the node's state and the request's size alone, so it is asked once for each pair. A policy that draws at
random has no place here.
"""

import itertools
from collections import OrderedDict
from collections.abc import Collection, Hashable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy import typing as npt

from vgpu import inventory, values
from vgpu.placement import choice, explain, mix, policy

REMEMBERED_SIZES = 256
REMEMBERED_STATES = 20_000
UNKNOWN_MEMORY = np.iinfo(np.int64).max

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class _Answer:
    """What the policy says of a state: a bound, the score and the positions of the devices."""

    bound: float
    score: float
    positions: tuple[int, ...]


@dataclass(slots=True)
class _Table:
    """The scores of all nodes for one size of request, or bounds; infinite where it does not fit."""

    bounds: Floats
    scores: Floats
    exact: Flags
    as_of: Integers
    answers: dict[int, _Answer | float | str] = field(default_factory=dict)

    def grow(self, size: int) -> None:
        """Makes room for ``size`` nodes."""
        self.bounds = _grown(self.bounds, size, np.inf)
        self.scores = _grown(self.scores, size, np.inf)
        self.exact = _grown(self.exact, size, False)
        self.as_of = _grown(self.as_of, size, 0)


class Board:
    """The rooms of one pool under one policy."""

    def __init__(self, chooser: policy.Policy) -> None:
        self._policy = chooser
        self._batch = chooser.batch() if isinstance(chooser, policy.Bounded) else None
        self._rooms: list[inventory.NodeRoom | None] = []
        self._states = np.zeros(0, np.int64)
        self._slots: dict[str, int] = {}
        self._free: list[int] = []
        self._changed = np.zeros(0, np.int64)
        self._memory = np.zeros(0, np.int64)
        self._rank = np.zeros(0, np.int64)
        self._all: Integers | None = None
        self._ticks = itertools.count(1)
        self._known: dict[Hashable, int] = {}
        self._ids = itertools.count()
        self._tables: OrderedDict[mix.Shape, _Table] = OrderedDict()

    def see(self, room: inventory.NodeRoom) -> None:
        """Take in the room of a new or changed node."""
        slot = self._slots.get(room.node)
        if slot is None:
            slot = self._new_slot(room.node)
        self._rooms[slot] = room
        self._states[slot] = self._state(room)
        self._changed[slot] = next(self._ticks)
        if self._batch is not None:
            self._batch.see(slot, room)
        self._memory[slot] = UNKNOWN_MEMORY if room.memory_bytes is None else room.memory_bytes

    def forget(self, node: str) -> None:
        """The node is gone or not of the pool any more."""
        slot = self._slots.pop(node, None)
        if slot is not None:
            self._rooms[slot] = None
            self._free.append(slot)
            self._all = None

    def place(
        self, request: values.Request, offered: Collection[str] | None = None
    ) -> choice.Placement | choice.NoFit:
        """The place with the lowest score among the offered nodes, or among all; ties as in ``choice``."""
        slots = self._order() if offered is None else self._find(offered)
        table = self._table(mix.shape(request))
        stale = slots[table.as_of[slots] < self._changed[slots]]
        self._renew(table, stale, request)
        roomy = slots[self._memory[slots] >= request.pod_memory_bytes]
        best = self._best(table, self._shortlisted(table, roomy), request)
        if best is None:
            return choice.NoFit(reasons=dict(self._reasons(table, slots, request, offered or ())))
        room, answer = self._room(best), table.answers[int(self._states[best])]
        assert isinstance(answer, _Answer)
        uuids = tuple(room.devices[position].uuid for position in answer.positions)
        return choice.Placement(node=room.node, device_uuids=uuids)

    def _shortlisted(self, table: _Table, slots: Integers) -> Integers:
        """The slots that the policy looks at closely."""
        if not isinstance(self._policy, policy.Bounded):
            return slots
        slots = slots[np.isfinite(table.bounds[slots])]
        different = np.unique(table.bounds[slots])[: self._policy.shortlist]
        slots = slots[table.bounds[slots] <= different.max(initial=-np.inf)]
        slots = slots[np.lexsort((self._ranked()[slots], table.bounds[slots]))]
        first = np.searchsorted(table.bounds[slots], table.bounds[slots])
        return slots[np.arange(len(slots)) - first < self._policy.peers]

    def _best(self, table: _Table, slots: Integers, request: values.Request) -> int | None:
        """The slot with the lowest score: bounds are made exact as long as one of them is the lowest."""
        while True:
            lowest = table.scores[slots].min(initial=np.inf)
            if not np.isfinite(lowest):
                return None
            ties = slots[table.scores[slots] == lowest]
            open_ = ties[~table.exact[ties]]
            if not len(open_):
                return int(ties[np.argmin(self._ranked()[ties])])
            self._settle(table, int(open_[0]), request)

    def _renew(self, table: _Table, stale: Integers, request: values.Request) -> None:
        """Scores or bounds of changed nodes."""
        bounds = None if self._batch is None else self._batch.bounds(stale, request)
        if bounds is None:
            bounds = np.fromiter(
                (self._estimate(table, slot, request) for slot in stale.tolist()), np.float64
            )
        table.bounds[stale] = table.scores[stale] = bounds
        table.exact[stale] = np.isinf(bounds) | (not isinstance(self._policy, policy.Bounded))
        table.as_of[stale] = self._changed[stale]

    def _estimate(self, table: _Table, slot: int, request: values.Request) -> float:
        """The score of a node, or a bound below it where the policy has one."""
        state = int(self._states[slot])
        found = table.answers.get(state)
        if found is None:
            found = table.answers[state] = self._look(slot, request)
        if isinstance(found, _Answer):
            return found.bound
        return np.inf if isinstance(found, str) else found

    def _look(self, slot: int, request: values.Request) -> _Answer | float | str:
        room = self._room(slot)
        lacking = choice.lack(room, request)
        if lacking is not None:
            return lacking
        if isinstance(self._policy, policy.Bounded):
            return self._policy.bound(room, choice.fitting(room, request), request)
        return self._choose(room, request, bound=None)

    def _settle(self, table: _Table, slot: int, request: values.Request) -> None:
        """Replaces the bound of a node, and of all that are like it, by the score."""
        state = int(self._states[slot])
        found = table.answers.get(state)
        if not isinstance(found, _Answer):
            found = table.answers[state] = self._choose(
                self._room(slot), request, bound=float(table.bounds[slot])
            )
        alike = np.flatnonzero((self._states == state) & (table.as_of == self._changed))
        table.scores[alike] = found.score
        table.exact[alike] = True

    def _choose(self, room: inventory.NodeRoom, request: values.Request, *, bound: float | None) -> _Answer:
        found = self._policy.choose(room, choice.fitting(room, request), request)
        position = {device.uuid: at for at, device in enumerate(room.devices)}
        uuids = tuple(position[uuid] for uuid in found.device_uuids)
        return _Answer(found.score if bound is None else bound, found.score, uuids)

    def _room(self, slot: int) -> inventory.NodeRoom:
        room = self._rooms[slot]
        assert room is not None
        return room

    def _reasons(
        self, table: _Table, slots: Integers, request: values.Request, offered: Collection[str]
    ) -> Iterator[tuple[str, str]]:
        for slot in slots.tolist():
            state = int(self._states[slot])
            answer = table.answers.get(state)
            if answer is None:
                answer = table.answers[state] = self._look(slot, request)
            yield self._room(slot).node, answer if isinstance(answer, str) else explain.LITTLE_MEMORY
        for name in offered:
            if name not in self._slots:
                yield name, explain.NOT_REPORTED

    def _state(self, room: inventory.NodeRoom) -> int:
        key = _key(room)
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= REMEMBERED_STATES:
                self._forget_states()
            found = self._known[key] = next(self._ids)
        return found

    def _forget_states(self) -> None:
        self._known.clear()
        for table in self._tables.values():
            table.answers.clear()

    def _table(self, size: mix.Shape) -> _Table:
        table = self._tables.get(size)
        if table is None:
            table = self._tables[size] = _Table(
                np.zeros(0), np.zeros(0), np.zeros(0, np.bool_), np.zeros(0, np.int64)
            )
            if len(self._tables) > REMEMBERED_SIZES:
                self._tables.popitem(last=False)
        self._tables.move_to_end(size)
        if len(table.scores) < len(self._changed):
            table.grow(len(self._changed))
        return table

    def _new_slot(self, node: str) -> int:
        self._all = None
        if not self._free:
            self._rooms.append(None)
            self._free.append(len(self._rooms) - 1)
        slot = self._slots[node] = self._free.pop()
        if slot >= len(self._changed):
            size = max(64, 2 * slot)
            self._changed = _grown(self._changed, size, 0)
            self._states = _grown(self._states, size, -1)
            self._memory = _grown(self._memory, size, 0)
        return slot

    def _find(self, offered: Collection[str]) -> Integers:
        known = self._slots
        return np.fromiter((known[name] for name in offered if name in known), np.int64)

    def _order(self) -> Integers:
        """All slots in the order of their nodes' names."""
        if self._all is None:
            self._all = np.fromiter((self._slots[name] for name in sorted(self._slots)), np.int64)
            self._rank = np.zeros(len(self._changed), np.int64)
            self._rank[self._all] = np.arange(len(self._all))
        return self._all

    def _ranked(self) -> Integers:
        self._order()
        return self._rank


def _key(room: inventory.NodeRoom) -> Hashable:
    """All that a policy or a reason may depend on, in plain numbers."""
    devices = tuple(
        (
            device.free.memory_bytes,
            device.free.compute_percent,
            device.capacity.memory_bytes,
            device.capacity.compute_percent,
            device.model,
        )
        for device in room.devices
    )
    return room.cpu_milli, room.unusable, room.pod_sizes, devices


def _grown(array: npt.NDArray, size: int, fill: float) -> npt.NDArray:  # type: ignore[type-arg]  # any number
    more = np.full(size - len(array), fill, array.dtype)
    return np.concatenate([array, more])
