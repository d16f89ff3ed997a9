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
    wished: dict[str, int] = {}
    part, most = rate / max(1, len(slices)), curve.worthwhile_percent
    for _ in range(ROUNDS):
        ideal = min(most, math.ceil(curve.share_for(part) - 1e-9))
        wished = _granted(slices, ideal, curve)
        unserved = rate - sum(curve.rate_at(share) for share in wished.values())
        open_ = sum(1 for each in slices if ideal <= wished[each.id] < each.limits.compute_percent)
        if unserved <= 1e-9 or not open_ or ideal >= most:
            break
        part += unserved / open_
    wished = _trimmed(slices, wished, rate, curve)
    unserved = rate - sum(curve.rate_at(share) for share in wished.values())
    return Sizes(percent=wished, unserved_rate=max(0.0, unserved))


def _trimmed(
    slices: Sequence[facts.SliceFacts], wished: Mapping[str, int], rate: float, curve: work.Curve
) -> dict[str, int]:
    """Whole percents round up; what that is too much is taken off again, one percent of a slice each."""
    trimmed = dict(wished)
    spare = sum(curve.rate_at(share) for share in wished.values()) - rate
    for each in sorted(slices, key=lambda each: (each.allocated.compute_percent, each.id)):
        share = wished[each.id]
        less = curve.rate_at(share) - curve.rate_at(share - 1)
        if floor(each, curve) < share and less <= spare:
            trimmed[each.id] = share - 1
            spare -= less
    return trimmed


def _granted(slices: Sequence[facts.SliceFacts], ideal: int, curve: work.Curve) -> dict[str, int]:
    """The ideal within every slice's bounds; slices on one device share its room."""
    rooms = Rooms(slices)
    wished = {}
    for each in slices:
        share = min(each.limits.compute_percent, max(floor(each, curve), ideal))
        wished[each.id] = rooms.take(each, share)
    return wished


class Rooms:
    """What the devices have left while one decision gives it to the slices of a claim in turn."""

    def __init__(self, slices: Sequence[facts.SliceFacts]) -> None:
        self._left: dict[str, int] = {}
        for each in slices:
            for uuid in each.device_uuids or (each.id,):
                self._left[uuid] = max(0, each.room.compute_percent)

    def reachable(self, slice_: facts.SliceFacts) -> int:
        """The most this slice can have now."""
        left = min(self._left[uuid] for uuid in slice_.device_uuids or (slice_.id,))
        return min(slice_.limits.compute_percent, slice_.allocated.compute_percent + left)

    def take(self, slice_: facts.SliceFacts, share: int) -> int:
        """Give the slice this share, or what is left; its answer never lies below the slice's floor."""
        given = max(slice_.requests.compute_percent, min(share, self.reachable(slice_)))
        for uuid in slice_.device_uuids or (slice_.id,):
            self._left[uuid] -= max(0, given - slice_.allocated.compute_percent)
        return given


def reach(slices: Sequence[facts.SliceFacts], curve: work.Curve) -> float:
    """The rate that all these slices could serve where they stand, grown as far as that is efficient."""
    rooms = Rooms(slices)
    grown = (
        rooms.take(each, max(curve.stretched_percent, each.allocated.compute_percent)) for each in slices
    )
    return sum(curve.rate_at(share) for share in grown)


def floor(slice_: facts.SliceFacts, curve: work.Curve) -> int:
    """The least this slice should have: its request, and what one unit of work needs within the objective."""
    useful = min(curve.floor_percent, slice_.limits.compute_percent)
    return max(slice_.requests.compute_percent, useful)
