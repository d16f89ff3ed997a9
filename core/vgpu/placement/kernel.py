"""The door to ``kernel.c``: fragmentation and LeastFragmentation in C, where its library has been built.

Nothing is decided here; ``fragmentation`` and the policy have the same rules in Python and use them where
there is none.
Build in this folder: ``cc -std=c11 -O2 -ffp-contract=off -fPIC -shared -o _kernel.so kernel.c``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cffi
import numpy as np
from numpy import typing as npt

VERSION = 2
LIBRARY = Path(__file__).with_name("_kernel.so")

_ffi = cffi.FFI()
_ffi.cdef(
    """
    struct shape { int64_t memory, compute, cpu; int32_t gpus; };
    struct card { int64_t worth, memory, compute, kind; };
    struct kind { int64_t memory, compute; double price; };
    struct grid { const struct card *cards; const int64_t *counts, *cpus; const struct kind *kinds;
                  int64_t stride; };
    struct outlook { const struct shape *shapes; const double *weights; const int64_t *worths;
                     const int32_t *futures; int32_t shape_count, sequences, length;
                     double stranded, unpacked, scarcity; };
    struct ask { struct shape shape; const int64_t *taken; };
    int vgpu_kernel_version(void);
    double vgpu_stranded(const struct shape *shapes, const double *weights, int shape_count,
                         const int64_t *worths, int64_t cpu, const struct card *cards, int count);
    int64_t vgpu_unpacked(const struct shape *shapes, int shape_count, const int64_t *worths,
                          const int32_t *futures, int sequences, int length, int64_t cpu,
                          const struct card *cards, int count);
    int vgpu_bounds(const struct outlook *outlook, const struct grid *grid, const struct ask *ask,
                    const int64_t *slots, int64_t slot_count, double *bounds);
    int vgpu_choose(const struct outlook *outlook, const struct grid *grid, const struct ask *ask,
                    int64_t slot, int64_t *before, double *score, int32_t *chosen);
    """
)

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Many nodes: ``cards`` is nodes x cards x (worth, memory, compute, kind), the rest one a node.

    ``kinds`` are (memory, compute, price).
    """

    cards: Integers
    counts: Integers
    cpus: Integers
    kinds: Sequence[tuple[int, int, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What is expected: ``shapes`` as (memory, compute, cpu, gpus), their weights, and futures.

    Futures are positions of shapes, all of equal length; ``parts`` are the weights of stranded, unpacked and
    scarcity in a score.
    """

    shapes: Sequence[tuple[int, int, int, int]]
    weights: Sequence[float]
    futures: Sequence[Sequence[int]]
    parts: tuple[float, float, float]


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


class Survey:
    """An outlook on a grid: bounds of many nodes, and the choice on one. The grid's arrays may change."""

    def __init__(self, library: Path, outlook: Outlook, grid: Grid, worths: Sequence[Sequence[int]]) -> None:
        """``worths`` are, for each kind of card, what each shape takes of it, -1 where not accepted."""
        self._library: Any = _ffi.dlopen(str(library))
        self._arrays = grid, *_laid_out(outlook, worths)  # C has only their addresses
        shapes, weights, flat, futures = self._arrays[1:]
        count, sequences = len(outlook.shapes), len(outlook.futures)
        length = len(futures) // max(1, sequences)
        counts = count, sequences, length
        self._outlook: Any = _ffi.new(
            "struct outlook *", (shapes, weights, flat, futures, *counts, *outlook.parts)
        )
        self._kinds: Any = _ffi.new("struct kind[]", list(grid.kinds))
        self._grid: Any = _ffi.new(
            "struct grid *",
            (
                _pointer("struct card", grid.cards),
                _pointer("int64_t", grid.counts),
                _pointer("int64_t", grid.cpus),
                self._kinds,
                grid.cards.shape[1],
            ),
        )
        self._before: Any = _ffi.new("int64_t *")
        self._score: Any = _ffi.new("double *")
        self._chosen: Any = _ffi.new("int32_t[]", max(1, grid.cards.shape[1]))

    def ask(self, shape: tuple[int, int, int, int], taken: Sequence[int]) -> "Ask":
        """A request for C: a shape, and what it takes of each kind of card, -1 where it is not accepted."""
        numbers = _ffi.new("int64_t[]", list(taken))
        return Ask(_ffi.new("struct ask *", (shape, numbers)), numbers, shape[3])

    def bounds(self, ask: "Ask", slots: Integers) -> Floats | None:
        """For each slot a score that no choice is below, infinite where nothing fits.

        None where C has no room for so much.
        """
        found = np.empty(len(slots))
        call, where = self._library.vgpu_bounds, _pointer("int64_t", slots)
        status: int = call(
            self._outlook, self._grid, ask.pointer, where, len(slots), _pointer("double", found)
        )
        return None if status else found

    def choose(self, ask: "Ask", slot: int, before: int) -> tuple[float, tuple[int, ...], int] | None:
        """The best choice on a node that fits: score, positions of the cards, and what is left over before.

        ``before`` is that left-over where it is known, negative where not. None where C has no room.
        """
        self._before[0] = before
        status: int = self._library.vgpu_choose(
            self._outlook, self._grid, ask.pointer, slot, self._before, self._score, self._chosen
        )
        if status:
            return None
        return self._score[0], tuple(self._chosen[0 : ask.gpus]), self._before[0]


@dataclass(frozen=True, slots=True)
class Ask:
    """A request laid out for C."""

    pointer: Any
    taken: Any
    gpus: int


def _laid_out(outlook: Outlook, worths: Sequence[Sequence[int]]) -> tuple[Any, Any, Any, Any]:
    return (
        _ffi.new("struct shape[]", list(outlook.shapes)),
        _ffi.new("double[]", list(outlook.weights)),
        _ffi.new("int64_t[]", [worth for row in worths for worth in row]),
        _ffi.new("int32_t[]", [at for future in outlook.futures for at in future]),
    )


def _pointer(kind: str, array: npt.NDArray[Any]) -> Any:  # noqa: ANN401  cffi's pointers have no type
    return _ffi.cast(f"{kind} *", array.ctypes.data)


def built(library: Path = LIBRARY) -> Path | None:
    """The library, if it has been built of the source that this module knows."""
    if not library.exists():
        return None
    there: Any = _ffi.dlopen(str(library))
    try:
        found: int = there.vgpu_kernel_version()
    except AttributeError:  # it was built before there were versions
        found = 0
    return library if found == VERSION else None
