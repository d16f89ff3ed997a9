"""The decision over all nodes, kept fast: scores per size of request, brought up to date where nodes changed.

The answers are those of ``choice.place`` on the same rooms and policy. What a policy says of a node depends
on the node's state and the request's size alone, so it is asked once for each pair. A policy that draws at
random has no place here.
"""

import itertools
from collections import OrderedDict
from collections.abc import Collection, Hashable, Iterator
from dataclasses import replace

import numpy as np
from numpy import typing as npt

from vgpu import inventory, values
from vgpu.placement import choice, eligibility, explain, grid, mix, policy, scores, selection

REMEMBERED_SIZES = 256
REMEMBERED_STATES = 20_000
MANY = 256
UNKNOWN_MEMORY = np.iinfo(np.int64).max
ALONE = -(1 << 62)  # below all numbers of states and of shortages

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class Board:
    """The rooms of one pool under one policy."""

    def __init__(self, chooser: policy.Policy) -> None:
        self._rooms: list[inventory.NodeRoom | None] = []
        self._models: set[str] = set()
        self._sizes: set[values.Amounts] = set()
        self._grid = grid.Grid()
        self._states = np.zeros(0, np.int64)
        self._slots: dict[str, int] = {}
        self._free: list[int] = []
        self._changed = np.zeros(0, np.int64)
        self._memory = np.zeros(0, np.int64)
        self._scores = np.zeros(0)  # of nodes, where the policy's are the same for all requests
        self._rank = np.zeros(0, np.int64)
        self._all: Integers | None = None
        self._ticks = itertools.count(1)
        self._known: dict[Hashable, int] = {}
        self._ids = itertools.count()
        self._tables: OrderedDict[tuple[mix.Shape, Hashable], scores.Table] = OrderedDict()
        self.follow(chooser)

    def follow(self, chooser: policy.Policy) -> None:
        """Place by this policy from now on; the rooms stay."""
        self._policy = chooser
        self._standing = chooser.node_score if isinstance(chooser, policy.Standing) else None
        for slot, room in enumerate(self._rooms):
            if room is not None:
                self._scores[slot] = 0.0 if self._standing is None else self._standing(room)
        self._batch = chooser.batch(self._grid) if isinstance(chooser, policy.Bounded) else None
        self._tables.clear()

    def see(self, room: inventory.NodeRoom) -> None:
        """Take in the room of a new or changed node."""
        slot = self._slots.get(room.node)
        if slot is None:
            slot = self._new_slot(room.node)
        elif self._rooms[slot] == room:
            return
        self._rooms[slot] = room
        self._models.update(device.model for device in room.devices)
        self._sizes.update(device.capacity for device in room.devices)
        self._states[slot] = self._state(room)
        self._changed[slot] = next(self._ticks)
        self._grid.see(slot, room)
        self._scores[slot] = 0.0 if self._standing is None else self._standing(room)
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
        request = self._with_models(request)
        full = self._in_full(request)
        found = None if full is None else self._place(full, offered)
        return found if isinstance(found, choice.Placement) else self._place(request, offered)

    def _place(
        self, request: values.Request, offered: Collection[str] | None
    ) -> choice.Placement | choice.NoFit:
        slots = self._order() if offered is None else self._find(offered)
        table = self._table(mix.shape(request), eligibility.demands(request))
        self._renew(table, slots[table.as_of[slots] < self._changed[slots]], request)
        roomy = slots[self._memory[slots] >= request.pod_memory_bytes]
        roomy = roomy[table.bounds[roomy] < np.inf]
        if not len(roomy):
            return choice.NoFit(reasons=dict(self._reasons(table, slots, request, offered or ())))
        slot = self._best(table, roomy, request)
        room, pick = self._room(slot), self._picked(table, slot, request)
        uuids = tuple(room.devices[position].uuid for position in pick.positions)
        nearest = choice.linked(room, request, self._policy)
        return choice.Placement(node=room.node, device_uuids=nearest or uuids)

    def _with_models(self, request: values.Request) -> values.Request:
        """The request with the models that its expressions accept by name: sizes know models, not stars."""
        asked = request.constraints.devices
        if not selection.on_models(asked):
            return request
        found = selection.models(asked, request.models or self._models)
        return replace(request, models=found) if found else request

    def _in_full(self, request: values.Request) -> values.Request | None:
        """An exclusive request as one for all of a device, which sizes can tell; None where they differ."""
        asked = request.constraints
        if not asked.exclusive or len(self._sizes) != 1:
            return None
        [whole] = self._sizes
        if not whole.covers(request.requests):
            return None
        return replace(request, requests=whole, constraints=replace(asked, exclusive=False))

    def _touched(self, table: scores.Table, slot: int, request: values.Request) -> bool:
        """Whether a node may be another for this request than for one without constraints."""
        return table.closer and eligibility.touches(self._room(slot), request)

    def _mark(self, table: scores.Table, slot: int, request: values.Request) -> int:
        """What a table knows the node by: its state, or where the request looks closer its last change."""
        touched = self._touched(table, slot, request)
        return -int(self._changed[slot]) if touched else int(self._states[slot])

    def _best(self, table: scores.Table, slots: Integers, request: values.Request) -> int:
        """The slot with the lowest score; of those, the one with the smallest node name."""
        rank = self._ranked()
        if not isinstance(self._policy, policy.Bounded):
            ties = slots[table.bounds[slots] == table.bounds[slots].min()]
            return int(ties[np.argmin(rank[ties])])
        best: tuple[float, int, int] | None = None
        for slot in scores.shortlisted(table.bounds[slots], rank[slots], slots, self._policy).tolist():
            if best is not None and table.bounds[slot] > best[0] and not table.closer:
                break
            found = self._picked(table, slot, request).score, int(rank[slot]), slot
            best = found if best is None else min(best, found)
        assert best is not None
        return best[2]

    def _renew(self, table: scores.Table, stale: Integers, request: values.Request) -> None:
        """Scores or bounds of changed nodes."""
        if len(table.lacks) > REMEMBERED_STATES:
            table.forget()
        bounds = self._at_once(stale, request)
        if bounds is None:
            found = (self._estimate(table, slot, request) for slot in stale.tolist())
            bounds = np.fromiter(found, np.float64)
        elif table.closer:
            for at, slot in enumerate(stale.tolist()):
                if self._touched(table, slot, request):
                    bounds[at] = self._closer(table, slot, request, float(bounds[at]))
        table.bounds[stale] = bounds
        table.as_of[stale] = self._changed[stale]

    def _at_once(self, stale: Integers, request: values.Request) -> Floats | None:
        """The same for a request without constraints, if there is a way for all nodes together."""
        if self._standing is not None:
            return np.where(self._grid.fits(stale, request), self._scores[stale], np.inf)
        return None if self._batch is None else self._batched(self._batch, stale, request)

    def _batched(self, batch: policy.Batch, stale: Integers, request: values.Request) -> Floats | None:
        """The bounds of the batch; where many are asked for, one for all nodes of a state."""
        if len(stale) < MANY:
            return batch.bounds(stale, request)
        _, first, which = np.unique(self._states[stale], return_index=True, return_inverse=True)
        bounds = batch.bounds(stale[first], request)
        return None if bounds is None else bounds[which]

    def _estimate(self, table: scores.Table, slot: int, request: values.Request) -> float:
        """The score of a node, or a bound below it where the policy has one."""
        if self._lack(table, slot, request) is not None:
            return np.inf
        if isinstance(self._policy, policy.Bounded):
            return choice.bound(self._room(slot), request, self._policy)
        return self._picked(table, slot, request).score

    def _closer(self, table: scores.Table, slot: int, request: values.Request, bound: float) -> float:
        """The bound of a node that is touched by demands, where the batch says ``bound`` without them."""
        if request.constraints.exclusive:  # it weighs more than the batch was told
            return self._estimate(table, slot, request)
        return bound if self._lack(table, slot, request) is None else np.inf

    def _lack(self, table: scores.Table, slot: int, request: values.Request) -> str | None:
        """What the node lacks for the request besides host memory; None if it fits."""
        mark = self._mark(table, slot, request)
        if mark not in table.lacks:
            table.lacks[mark] = choice.lack(self._room(slot), request)
        return table.lacks[mark]

    def _picked(self, table: scores.Table, slot: int, request: values.Request) -> policy.Pick:
        """What the policy chooses on a node that fits; the same on all nodes of this mark."""
        mark = self._mark(table, slot, request)
        found = table.picks.get(mark)
        if found is None:
            if self._batch is not None and mark >= 0:
                found = self._batch.choose(slot, request)
            found = table.picks[mark] = found or self._chosen(self._room(slot), request)
        return found

    def _chosen(self, room: inventory.NodeRoom, request: values.Request) -> policy.Pick:
        found = choice.chosen(room, request, self._policy)
        position = {device.uuid: at for at, device in enumerate(room.devices)}
        return policy.Pick(found.score, tuple(position[uuid] for uuid in found.device_uuids))

    def _room(self, slot: int) -> inventory.NodeRoom:
        room = self._rooms[slot]
        assert room is not None
        return room

    def _reasons(
        self, table: scores.Table, slots: Integers, request: values.Request, offered: Collection[str]
    ) -> Iterator[tuple[str, str]]:
        alike = self._grid.shortages(slots, request)
        alike = np.where(alike < 0, -1 - self._states[slots], alike)
        if table.closer:
            for at, slot in enumerate(slots.tolist()):
                if self._touched(table, slot, request):
                    alike[at] = ALONE - at
        _, first, which = np.unique(alike, return_index=True, return_inverse=True)
        words = [self._lack(table, slot, request) or explain.LITTLE_MEMORY for slot in slots[first].tolist()]
        for slot, group in zip(slots.tolist(), which.tolist(), strict=True):
            yield self._room(slot).node, words[group]
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
            table.forget()

    def _table(self, shape: mix.Shape, demands: Hashable) -> scores.Table:
        size = shape, demands
        table = self._tables.get(size)
        if table is None:
            closer = demands is not None
            table = self._tables[size] = scores.Table(np.zeros(0), np.zeros(0, np.int64), closer)
            if len(self._tables) > REMEMBERED_SIZES:
                self._tables.popitem(last=False)
        self._tables.move_to_end(size)
        if len(table.bounds) < len(self._changed):
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
            self._changed = scores.grown(self._changed, size, 0)
            self._states = scores.grown(self._states, size, -1)
            self._memory = scores.grown(self._memory, size, 0)
            self._scores = scores.grown(self._scores, size, 0)
        return slot

    def _find(self, offered: Collection[str]) -> Integers:
        found = list(map(self._slots.get, offered))
        if None in found:
            found = [slot for slot in found if slot is not None]
        return np.array(found, np.int64)

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
    closed = room.unusable, room.cordoned, room.silent
    return room.cpu_milli, closed, room.pod_sizes, devices
