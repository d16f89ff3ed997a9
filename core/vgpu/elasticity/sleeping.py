"""Which replicas of a claim serve and which sleep: sleepers keep their memory and wake at once.

A cold start takes long, and a slice far below the efficient size serves little for what it holds; so the rate
goes to as few full slices as it needs. How large those are in the end is decided in ``vertical``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from vgpu.elasticity import facts, settings, state, vertical

USEFUL = 0.8
"""A slice that can reach this part of the efficient size is worth waking."""

BETTER_THAN_NONE = 0.3
"""That part in a pool that is short."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Naps:
    """Slices that go to sleep and slices that wake."""

    sleep: frozenset[str] = frozenset()
    wake: frozenset[str] = frozenset()

    def serves(self, slice_: facts.SliceFacts) -> bool:
        """True for a slice that serves once this is done."""
        return slice_.id in self.wake or (slice_.ready and not slice_.asleep and slice_.id not in self.sleep)


def naps(claim: facts.ClaimFacts, rate: float, *, slack: float = 0.0, short: bool = False) -> Naps:
    """Who wakes until what serves suffices for the rate, slices grown as far as that is efficient.

    Who sleeps leaves ``slack``, a part of the rate, more than that.
    Who may sleep is decided with slices of the efficient size, so that nobody is woken again at once. Emptier
    devices fall asleep first and fuller ones wake first: what serves draws together, and devices become free.
    In a ``short`` pool small slices serve too: what lending makes of them is better than what sleep does.
    """
    if not claim.can_sleep:
        return Naps()
    rooms = vertical.Rooms(claim.slices)
    serving = sorted(_serving(claim), key=lambda each: (-each.allocated.compute_percent, each.id))
    granted = {each.id: rooms.take(each, claim.curve.stretched_percent) for each in serving}
    weak = frozenset() if short else _weak(claim, serving, granted)
    missing = rate - sum(claim.curve.rate_at(granted[each.id]) for each in serving if each.id not in weak)
    if missing > 0:
        return Naps(
            sleep=weak, wake=_woken(claim, rooms, missing, useful=BETTER_THAN_NONE if short else USEFUL)
        )
    strong = [each for each in serving if each.id not in weak]
    return Naps(sleep=weak | _surplus(claim, strong, rate * (1 + slack)))


def remembered(claim: facts.ClaimFacts, before: state.State, now_naps: Naps, *, now: float) -> state.State:
    """The state that knows since when each sleeper sleeps."""
    asleep = {each.id for each in claim.slices if each.asleep} - now_naps.wake | now_naps.sleep
    if asleep == before.asleep_since.keys():
        return before
    return replace(before, asleep_since={id_: before.asleep_since.get(id_, now) for id_ in sorted(asleep)})


def kept(
    claim: facts.ClaimFacts, wished: int, after: state.State, rule: settings.Settings, *, now: float
) -> int:
    """Replicas with the sleepers that have not slept long enough to be removed."""
    if not claim.can_sleep:
        return wished
    young = sum(1 for since in after.asleep_since.values() if now - since < rule.asleep_seconds)
    return max(wished, min(claim.replicas or 0, len(claim.slices) - len(after.asleep_since) + young))


def _serving(claim: facts.ClaimFacts) -> list[facts.SliceFacts]:
    return [each for each in claim.slices if each.ready and not each.asleep]


def _weak(
    claim: facts.ClaimFacts, serving: list[facts.SliceFacts], granted: Mapping[str, int]
) -> frozenset[str]:
    """Those without the room for a useful slice: requests that they took would be late."""
    useful = USEFUL * claim.curve.efficient_percent
    weak = [each.id for each in serving if granted[each.id] < min(useful, each.limits.compute_percent)]
    return frozenset(weak[max(0, claim.min_replicas + len(weak) - len(serving)) :])


def _woken(
    claim: facts.ClaimFacts, rooms: vertical.Rooms, missing: float, *, useful: float
) -> frozenset[str]:
    efficient, chosen = claim.curve.efficient_percent, set()
    sleepers = [each for each in claim.slices if each.asleep and each.ready]
    for each in sorted(sleepers, key=lambda each: (-each.neighbours_percent, each.id)):
        if missing > 0 and rooms.reachable(each) >= useful * min(efficient, each.limits.compute_percent):
            chosen.add(each.id)
            missing -= claim.curve.rate_at(rooms.take(each, efficient))
    return frozenset(chosen)


def _surplus(claim: facts.ClaimFacts, serving: list[facts.SliceFacts], rate: float) -> frozenset[str]:
    rooms, curve = vertical.Rooms(claim.slices), claim.curve
    rates = {each.id: curve.rate_at(rooms.take(each, curve.efficient_percent)) for each in serving}
    spare = sum(rates.values()) - rate
    chosen: set[str] = set()
    least = max(1, claim.min_replicas)
    for each in sorted(serving, key=lambda each: (each.neighbours_percent, each.id)):
        if rates[each.id] <= spare and len(serving) - len(chosen) > least:
            chosen.add(each.id)
            spare -= rates[each.id]
    return frozenset(chosen)
