"""The rooms of many nodes in plain numbers: arrays kept by deltas, one row under each node's slot.

What the numbers are good for, and which requests are expected, is not known here.
"""

import numpy as np
from numpy import typing as npt

from vgpu import inventory, values
from vgpu.placement import fragmentation

CARDS = 8

Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


class Grid:
    """``cards`` is nodes x cards x (worth, memory, compute, position in ``kinds``); the rest one a node.

    ``revisions`` count the changes of each row. ``kinds`` stay in order; when one comes, or the arrays grow,
    ``layout`` changes.
    """

    def __init__(self) -> None:
        self.kinds: tuple[fragmentation.Kind, ...] = ()
        self.layout = 0
        self.cards = np.zeros((64, CARDS, 4), np.int64)
        self.counts = np.zeros(64, np.int64)
        self.cpus = np.zeros(64, np.int64)
        self.revisions = np.zeros(64, np.int64)

    def see(self, slot: int, room: inventory.NodeRoom) -> None:
        """Take in the room of a slot."""
        nodes, cards, _ = self.cards.shape
        if slot >= nodes or len(room.devices) > cards:
            self._grow(max(nodes, 2 * slot), max(cards, len(room.devices)))
        found = [fragmentation.card(device) for device in room.devices]
        unknown = {each.kind for each in found}.difference(self.kinds)
        if unknown:
            self._learn(unknown)
        at = {kind: position for position, kind in enumerate(self.kinds)}
        self.cpus[slot] = fragmentation.free_cpu(room)
        self.counts[slot] = len(found)
        self.revisions[slot] += 1
        if found:
            self.cards[slot, : len(found)] = [
                (worth, memory, compute, at[kind]) for worth, memory, compute, kind in found
            ]

    def fits(self, slots: Integers, request: values.Request) -> Flags:
        """Which slots a request without constraints fits, host memory aside."""
        _, memory, compute = self._able(slots, request)
        enough = (memory & compute).sum(axis=1) >= request.device_count
        return np.asarray(enough & (self.cpus[slots] >= request.pod_cpu_milli))

    def shortages(self, slots: Integers, request: values.Request) -> Integers:
        """For each slot a number that is equal where nodes lack the same for a request without constraints.

        -1 where there is no device, so that more has to be looked at.
        """
        need, counts = request.device_count, self.counts[slots]
        accepted, memory, compute = self._able(slots, request)
        found = accepted.sum(axis=1), (memory & compute).sum(axis=1)
        facts = (
            counts < need,
            *(sums < need for sums in found),
            *(sums > 0 for sums in found),
            memory.any(axis=1),
            compute.any(axis=1),
            self.cpus[slots] < request.pod_cpu_milli,
        )
        numbers = sum(fact.astype(np.int64) << at for at, fact in enumerate(facts))
        return np.where(counts == 0, -1, numbers)

    def _able(self, slots: Integers, request: values.Request) -> tuple[Flags, Flags, Flags]:
        """Which cards the request accepts, and which of these have the memory and the compute."""
        asked, cards = request.requests, self.cards[slots]
        there = np.arange(cards.shape[1]) < self.counts[slots][:, None]
        known = np.array([not request.models or kind.model in request.models for kind in self.kinds], bool)
        accepted = there & known[cards[:, :, 3]] if len(known) else there
        memory = accepted & (cards[:, :, 1] >= asked.memory_bytes)
        compute = accepted & (cards[:, :, 2] >= asked.compute_percent)
        return accepted, memory, compute

    def _learn(self, unknown: set[fragmentation.Kind]) -> None:
        """Takes in kinds: equal cards are told apart by the order of their kinds, so that has to be kept."""
        kinds = tuple(sorted(unknown.union(self.kinds)))
        moved = np.array([kinds.index(kind) for kind in self.kinds], np.int64)
        if len(moved):
            self.cards[:, :, 3] = moved[self.cards[:, :, 3]]
        self.kinds = kinds
        self.layout += 1

    def _grow(self, nodes: int, cards: int) -> None:
        rows, columns, _ = self.cards.shape
        old, self.cards = self.cards, np.zeros((nodes, cards, 4), np.int64)
        self.cards[:rows, :columns] = old
        self.counts, self.cpus, self.revisions = (
            np.concatenate([each, np.zeros(nodes - rows, np.int64)])
            for each in (self.counts, self.cpus, self.revisions)
        )
        self.layout += 1
