"""The door to ``kernel.c``: the measures of ``fragmentation`` in C, where its library has been built.

Nothing is decided here; ``fragmentation`` has the same rules in Python and uses them where there is none.
Build in this folder: ``cc -std=c11 -O2 -ffp-contract=off -fPIC -shared -o _kernel.so kernel.c``.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cffi

LIBRARY = Path(__file__).with_name("_kernel.so")

_ffi = cffi.FFI()
_ffi.cdef(
    """
    struct shape { int64_t memory, compute, cpu; int32_t gpus; };
    struct card { int64_t worth, memory, compute; int32_t kind; };
    double vgpu_stranded(const struct shape *shapes, const double *weights, int shape_count,
                         const int64_t *worths, int64_t cpu, const struct card *cards, int count);
    int64_t vgpu_unpacked(const struct shape *shapes, int shape_count, const int64_t *worths,
                          const int32_t *futures, int sequences, int length, int64_t cpu,
                          const struct card *cards, int count);
    """
)


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
        rows: Any,  # noqa: ANN401
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
        rows: Any,  # noqa: ANN401
    ) -> int | None:
        """What stays free, summed over the futures; None where C has no room for so many shapes or cards."""
        call, free = self._library.vgpu_unpacked, _ffi.new("struct card[]", cards)
        length = len(futures) // max(1, sequences)
        left: int = call(self._shapes, self._count, rows, futures, sequences, length, cpu, free, len(cards))
        return None if left < 0 else left


def built(library: Path = LIBRARY) -> Path | None:
    """The library, if it has been built."""
    return library if library.exists() else None
