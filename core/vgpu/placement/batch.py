"""LeastFragmentation's bounds for many nodes at once: a grid kept by deltas, and one call of C.

The numbers are those of the policy's own ``bound``, node by node. Which node wins is for the board.
"""

from collections.abc import Mapping

import numpy as np

from vgpu import inventory, values
from vgpu.placement import fragmentation, kernel

CARDS = 8


class Batch:
    """The rooms of a board, laid out for C; ``parts`` are the weights of stranded, unpacked and scarcity."""

    def __init__(
        self,
        stranded: fragmentation.Stranded,
        *,
        prices: Mapping[str, float],
        parts: tuple[float, float, float],
    ) -> None:
        self._stranded = stranded
        self._prices = prices
        self._parts = parts
        self._kinds: dict[fragmentation.Kind, int] = {}
        self._grid = _grid(64, CARDS)

    def see(self, slot: int, room: inventory.NodeRoom) -> None:
        """Take in the room of a slot."""
        nodes, cards, _ = self._grid.cards.shape
        if slot >= nodes or len(room.devices) > cards:
            self._grow(max(nodes, 2 * slot), max(cards, len(room.devices)))
        found = [fragmentation.card(device) for device in room.devices]
        grid = self._grid
        grid.cpus[slot] = fragmentation.free_cpu(room)
        grid.counts[slot] = len(found)
        for at, (worth, memory, compute, kind) in enumerate(found):
            grid.cards[slot, at] = worth, memory, compute, self._kinds.setdefault(kind, len(self._kinds))

    def bounds(self, slots: kernel.Integers, request: values.Request) -> kernel.Floats | None:
        """For each slot what its score is not below, infinite where the request does not fit."""
        return self._stranded.bounds(
            tuple(self._kinds),
            prices=self._prices,
            parts=self._parts,
            grid=self._grid,
            request=request,
            slots=slots,
        )

    def _grow(self, nodes: int, cards: int) -> None:
        old, self._grid = self._grid, _grid(nodes, cards)
        rows, columns, _ = old.cards.shape
        self._grid.cards[:rows, :columns] = old.cards
        self._grid.counts[:rows] = old.counts
        self._grid.cpus[:rows] = old.cpus


def _grid(nodes: int, cards: int) -> kernel.Grid:
    return kernel.Grid(
        cards=np.zeros((nodes, cards, 4), np.int64),
        counts=np.zeros(nodes, np.int64),
        cpus=np.zeros(nodes, np.int64),
    )
