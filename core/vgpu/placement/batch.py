"""LeastFragmentation on many nodes: one call of C over a grid for all bounds, one for the choice on a node.

The numbers are those of the policy's own ``bound`` and ``choose``, node by node. Which node wins is for the
board.
"""

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from vgpu import values
from vgpu.placement import fragmentation, grid, kernel, mix, policy

REMEMBERED_SIZES = 256
UNKNOWN = -1


class Batch:
    """A policy on a grid; ``parts`` are the weights of stranded, unpacked and scarcity."""

    def __init__(
        self,
        where: grid.Grid,
        *,
        library: Path,
        stranded: fragmentation.Stranded,
        unpacked: fragmentation.Unpacked,
        prices: Mapping[str, float],
        parts: tuple[float, float, float],
    ) -> None:
        self._where = where
        self._library = library
        self._stranded = stranded
        self._prices = prices
        self._outlook = kernel.Outlook(
            shapes=stranded.shapes, weights=stranded.weights, futures=unpacked.futures, parts=parts
        )
        self._layout = UNKNOWN
        self._survey: kernel.Survey | None = None
        self._asks: OrderedDict[mix.Shape, kernel.Ask] = OrderedDict()
        self._left = np.zeros(0, np.int64)
        self._left_as_of = np.zeros(0, np.int64)

    def bounds(self, slots: kernel.Integers, request: values.Request) -> kernel.Floats | None:
        """For each slot what its score is not below, infinite where the request does not fit."""
        if not self._where.kinds:
            return None
        survey = self._surveyed()
        return survey.bounds(self._ask(survey, request), slots)

    def choose(self, slot: int, request: values.Request) -> policy.Pick | None:
        """The best choice on a node that the request fits; None if it cannot tell."""
        if not self._where.kinds:
            return None
        survey = self._surveyed()
        revision = self._where.revisions[slot]
        before = int(self._left[slot]) if self._left_as_of[slot] == revision else UNKNOWN
        found = survey.choose(self._ask(survey, request), slot, before)
        if found is None:
            return None
        score, positions, self._left[slot] = found
        self._left_as_of[slot] = revision
        return policy.Pick(score=score, positions=positions)

    def _surveyed(self) -> kernel.Survey:
        """The layout in C, made anew where the grid's arrays have been."""
        if self._survey is None or self._layout != self._where.layout:
            self._layout = self._where.layout
            self._survey = self._made()
            self._asks.clear()
            self._left = np.full(len(self._where.counts), UNKNOWN, np.int64)
            self._left_as_of = np.full(len(self._where.counts), UNKNOWN, np.int64)
        return self._survey

    def _made(self) -> kernel.Survey:
        kinds = self._where.kinds
        laid_out = kernel.Grid(
            cards=self._where.cards,
            counts=self._where.counts,
            cpus=self._where.cpus,
            kinds=[(kind.memory, kind.compute, self._prices.get(kind.model, 0.0)) for kind in kinds],
        )
        worths = [self._stranded.worths_of(kind) for kind in kinds]
        return kernel.Survey(self._library, self._outlook, laid_out, worths)

    def _ask(self, survey: kernel.Survey, request: values.Request) -> kernel.Ask:
        size = mix.shape(request)
        found = self._asks.get(size)
        if found is None:
            asked = size.requests
            found = self._asks[size] = survey.ask(
                (asked.memory_bytes, asked.compute_percent, size.pod_cpu_milli, size.device_count),
                [fragmentation.taken(asked, kind, size.models) for kind in self._where.kinds],
            )
            if len(self._asks) > REMEMBERED_SIZES:
                self._asks.popitem(last=False)
        return found
