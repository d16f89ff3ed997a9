"""How many replicas a claim should have, and what keeps it from having them.

Replicas follow what lasts: they take long to start, and slices have grown before one is asked for.
"""

import math
from dataclasses import dataclass

from vgpu.elasticity import facts, work


@dataclass(frozen=True, slots=True, kw_only=True)
class Replicas:
    """The wished number, what was needed before clamping, and the clamps in words."""

    wished: int
    needed: int
    clamps: tuple[str, ...]


def needed(rate: float, curve: work.Curve) -> int:
    """Replicas of the efficient size that serve this rate; at least one for any rate above zero."""
    return math.ceil(rate / curve.efficient_rate - 1e-9)


def wished(claim: facts.ClaimFacts, count: int) -> Replicas:
    """The count within the claim's bounds; more than now only as far as quota and placement take them."""
    present = claim.replicas or 0
    clamps = []
    bounded = min(claim.max_replicas, max(claim.min_replicas, count))
    if bounded < count:
        clamps.append(f"maxReplicas {claim.max_replicas}")
    if bounded > count:
        clamps.append(f"minReplicas {claim.min_replicas}")
    placed = min(bounded, max(present, present + claim.pool.placeable))
    if placed < bounded:
        clamps.append(f"placement and quota take {claim.pool.placeable} more")
    return Replicas(wished=placed, needed=count, clamps=tuple(clamps))
