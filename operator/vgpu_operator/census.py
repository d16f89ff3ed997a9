"""How many claims of each pool hold a slice, and how many have a pod that waits for one.

Counted claim by claim as they change, because a pool may have thousands.
"""

from collections import Counter
from dataclasses import dataclass

from vgpu_kube.objects import Key


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One claim's place in the count."""

    pool: str
    bound: bool
    pending: bool


class Census:
    """The claims of all pools, counted."""

    def __init__(self) -> None:
        self._standings: dict[Key, Standing] = {}
        self._bound: Counter[str] = Counter()
        self._pending: Counter[str] = Counter()

    def bound(self, pool: str) -> int:
        """Claims of the pool that hold at least one slice."""
        return self._bound[pool]

    def pending(self, pool: str) -> int:
        """Claims of the pool with a pod that waits for a slice."""
        return self._pending[pool]

    def put(self, claim: Key, standing: Standing | None) -> set[str]:
        """Where a claim stands now, None where it is gone; returns the pools whose count has changed."""
        before = self._standings.pop(claim, None)
        if standing is not None:
            self._standings[claim] = standing
        if before == standing:
            return set()
        self._count(before, -1)
        self._count(standing, 1)
        return {each.pool for each in (before, standing) if each is not None}

    def _count(self, standing: Standing | None, sign: int) -> None:
        if standing is not None:
            self._bound[standing.pool] += sign * standing.bound
            self._pending[standing.pool] += sign * standing.pending
