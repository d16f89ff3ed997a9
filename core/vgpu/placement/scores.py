"""What a board keeps for one size of request: scores or bounds of all nodes, and what was looked at closely.

Whose numbers these are, and which node wins, is the board's and its policy's.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy import typing as npt

from vgpu.placement import policy

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(slots=True)
class Table:
    """The scores of all nodes for one size of request, or bounds; infinite where it does not fit.

    ``picks`` and ``lacks`` are what the policy chose on a node of a state, and what such a node lacks. A
    table that looks ``closer`` is of requests for which a node may be more than its state: it goes by marks.
    """

    bounds: Floats
    as_of: Integers
    closer: bool = False
    picks: dict[int, policy.Pick] = field(default_factory=dict)
    lacks: dict[int, str | None] = field(default_factory=dict)

    def forget(self) -> None:
        """Lets go of what is worked out again when it is asked for."""
        self.picks.clear()
        self.lacks.clear()

    def grow(self, size: int) -> None:
        """Makes room for ``size`` nodes."""
        self.bounds = grown(self.bounds, size, np.inf)
        self.as_of = grown(self.as_of, size, 0)


def shortlisted(bounds: Floats, rank: Integers, slots: Integers, chooser: policy.Bounded) -> Integers:
    """The slots that the policy looks at closely, the lowest bounds first, in a tie by rank."""
    different = np.unique(bounds)[: chooser.shortlist]
    low = bounds <= different[-1]
    bounds, rank, slots = bounds[low], rank[low], slots[low]
    order = np.lexsort((rank, bounds))
    bounds, slots = bounds[order], slots[order]
    first = np.searchsorted(bounds, bounds)
    return slots[np.arange(len(slots)) - first < chooser.peers]


def grown(array: npt.NDArray, size: int, fill: float) -> npt.NDArray:  # type: ignore[type-arg]  # any number
    """The array with this fill behind it, ``size`` long."""
    more = np.full(size - len(array), fill, array.dtype)
    return np.concatenate([array, more])
