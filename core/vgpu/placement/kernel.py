"""The door to ``kernel.c``: the measures of ``fragmentation`` in C, where its library has been built.

Nothing is decided here; ``fragmentation`` has the same rules in Python and uses them where there is none.
Build in this folder: ``cc -std=c11 -O2 -ffp-contract=off -fPIC -shared -o _kernel.so kernel.c``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cffi
import numpy as np
from numpy import typing as npt

LIBRARY = Path(__file__).with_name("_kernel.so")

_ffi = cffi.FFI()
_ffi.cdef(
    """
    struct shape { int64_t memory, compute, cpu; int32_t gpus; };
    struct card { int64_t worth, memory, compute, kind; };
    struct kind { int64_t memory, compute; double price; };
    struct grid { const struct card *cards; const int64_t *counts, *cpus; int64_t stride; };
    struct policy { double stranded, unpacked, scarcity; };
    double vgpu_stranded(const struct shape *shapes, const double *weights, int shape_count,
                         const int64_t *worths, int64_t cpu, const struct card *cards, int count);
    int64_t vgpu_unpacked(const struct shape *shapes, int shape_count, const int64_t *worths,
                          const int32_t *futures, int sequences, int length, int64_t cpu,
                          const struct card *cards, int count);
    int vgpu_bounds(const struct policy *policy, const struct shape *shapes, const double *weights,
                    int shape_count, const int64_t *worths, const struct kind *kinds,
                    const struct grid *grid, const struct shape *asked, const int64_t *taken,
                    const int64_t *slots, int64_t slot_count, double *bounds);
    """
)

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Many nodes: ``cards`` is nodes x cards x (worth, memory, compute, kind), the rest one a node."""

    cards: Integers
    counts: Integers
    cpus: Integers


class Kernel:
    """The shapes of one mix, laid out for C.

    A node is its free CPU, its cards as (worth, memory, compute, row), and the rows that ``rows`` makes.
    """

    def __init__(self, library: Path, shapes: Sequence[tuple[int, int, int, int]]) -> None:
        """``shapes`` are (memory, compute, cpu, gpus)."""
        self._library: Any = _ffi.dlopen(str(library))
        self._shapes: Any = _ffi.new("struct shape[]", list(shapes))
        self._count = len(shapes)

    def rows(self, worths: Sequence[Sequence[int]]) -> Any:  # noqa: ANN401  cffi's arrays have no type
        """One row per kind of card: what each shape takes of it, -1 where it is not accepted."""
        return _ffi.new("int64_t[]", [worth for row in worths for worth in row])

    def numbers(self, kind: str, found: Sequence[float]) -> Any:  # noqa: ANN401  cffi's arrays have no type
        """An array of ``double`` weights or ``int32_t`` positions of shapes."""
        return _ffi.new(f"{kind}[]", found)

    def stranded(
        self,
        weights: Any,  # noqa: ANN401  cffi's arrays have no type
        cpu: int,
        cards: Sequence[tuple[int, int, int, int]],
        rows: Any,  # noqa: ANN401  cffi's arrays have no type
    ) -> float:
        """What the shapes cannot use, weighted."""
        call, free = self._library.vgpu_stranded, _ffi.new("struct card[]", cards)
        found: float = call(self._shapes, weights, self._count, rows, cpu, free, len(cards))
        return found

    def unpacked(
        self,
        futures: Any,  # noqa: ANN401  cffi's arrays have no type
        sequences: int,
        cpu: int,
        cards: Sequence[tuple[int, int, int, int]],
        rows: Any,  # noqa: ANN401  cffi's arrays have no type
    ) -> int | None:
        """What stays free, summed over the futures; None where C has no room for so many shapes or cards."""
        call, free = self._library.vgpu_unpacked, _ffi.new("struct card[]", cards)
        length = len(futures) // max(1, sequences)
        left: int = call(self._shapes, self._count, rows, futures, sequences, length, cpu, free, len(cards))
        return None if left < 0 else left

    def bounds(
        self,
        weights: Any,  # noqa: ANN401  cffi's arrays have no type
        rows: Any,  # noqa: ANN401  cffi's arrays have no type
        *,
        parts: tuple[float, float, float],
        kinds: Sequence[tuple[int, int, float]],
        grid: Grid,
        asked: tuple[int, int, int, int],
        taken: Sequence[int],
        slots: Integers,
    ) -> Floats | None:
        """For each slot of the grid a score that no choice is below, infinite where nothing fits.

        ``parts`` are the weights of stranded, unpacked and scarcity, ``kinds`` (memory, compute, price),
        ``asked`` a shape and ``taken`` what it takes of each kind. None where C has no room for so much.
        """
        found = np.empty(len(slots))
        nodes = _ffi.new(
            "struct grid *",
            (
                _pointer("struct card", grid.cards),
                _pointer("int64_t", grid.counts),
                _pointer("int64_t", grid.cpus),
                grid.cards.shape[1],
            ),
        )
        status: int = self._library.vgpu_bounds(
            _ffi.new("struct policy *", parts),
            self._shapes,
            weights,
            self._count,
            rows,
            _ffi.new("struct kind[]", list(kinds)),
            nodes,
            _ffi.new("struct shape *", asked),
            _ffi.new("int64_t[]", list(taken)),
            _pointer("int64_t", slots),
            len(slots),
            _pointer("double", found),
        )
        return None if status else found


def _pointer(kind: str, array: npt.NDArray[Any]) -> Any:  # noqa: ANN401  cffi's pointers have no type
    return _ffi.cast(f"{kind} *", array.ctypes.data)


def built(library: Path = LIBRARY) -> Path | None:
    """The library, if it has been built."""
    return library if library.exists() else None
