"""How large each slice of a claim should be for the rate its replicas share.

Compute only; memory is sized in ``memory``. How many replicas there are is given here.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vgpu.elasticity import facts, work

ROUNDS = 4
"""How often what some slices cannot take is offered to the others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Wished compute per slice id in percent, and the rate that no slice had room for."""

    percent: Mapping[str, int]
    unserved_rate: float


def sizes(slices: Sequence[facts.SliceFacts], *, rate: float, curve: work.Curve) -> Sizes:
    """Equal parts of the rate for every slice; what one has no room for goes to the others."""
    most = {each.id: reachable(each) for each in slices}
    least = {each.id: floor(each, curve) for each in slices}
    wished: dict[str, int] = {}
    part = rate / max(1, len(slices))
    for _ in range(ROUNDS):
        ideal = math.ceil(curve.share_for(part) - 1e-9)
        wished = {each.id: min(most[each.id], max(least[each.id], ideal)) for each in slices}
        unserved = rate - sum(curve.rate_at(share) for share in wished.values())
        open_ = sum(1 for id_, share in wished.items() if share < most[id_])
        if unserved <= 1e-9 or not open_:
            break
        part += unserved / open_
    unserved = rate - sum(curve.rate_at(share) for share in wished.values())
    return Sizes(percent=wished, unserved_rate=max(0.0, unserved))


def reachable(slice_: facts.SliceFacts) -> int:
    """The most this slice can have now: its ceiling, or what its devices have left."""
    room = slice_.allocated.compute_percent + max(0, slice_.room.compute_percent)
    return max(slice_.requests.compute_percent, min(slice_.limits.compute_percent, room))


def floor(slice_: facts.SliceFacts, curve: work.Curve) -> int:
    """The least this slice should have: its request, and what one unit of work needs within the objective."""
    useful = min(curve.floor_percent, slice_.limits.compute_percent)
    return max(slice_.requests.compute_percent, useful)


def settled(slice_: facts.SliceFacts, wished: int, *, deadband: float, may_shrink: bool) -> int:
    """The wished share, or the present one while the difference is not worth a change."""
    present = slice_.allocated.compute_percent
    if wished < present and not may_shrink:
        return present
    if abs(wished - present) <= deadband * present and wished != slice_.requests.compute_percent:
        return present
    return wished
