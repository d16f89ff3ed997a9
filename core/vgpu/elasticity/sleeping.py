"""Which replicas of a claim serve and which sleep: sleepers keep their memory and wake at once.

A cold start takes long, and a slice far below the efficient size serves little for what it holds; so the rate
goes to as few full slices as it needs. How large those are in the end is decided in ``vertical``.
"""

from dataclasses import dataclass, replace

from vgpu.elasticity import facts, settings, state, vertical

USEFUL = 0.8
"""A slice that can reach this part of the efficient size is worth waking."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Naps:
    """Slices that go to sleep and slices that wake."""

    sleep: frozenset[str] = frozenset()
    wake: frozenset[str] = frozenset()

    def serves(self, slice_: facts.SliceFacts) -> bool:
        """True for a slice that serves once this is done."""
        return slice_.id in self.wake or (slice_.ready and not slice_.asleep and slice_.id not in self.sleep)


def naps(claim: facts.ClaimFacts, rate: float) -> Naps:
    """Who wakes until the efficient parts of what serves suffice for the rate, or who may sleep.

    Emptier devices fall asleep first and fuller ones wake first: what serves draws together, and devices
    become free.
    """
    if not claim.can_sleep:
        return Naps()
    serving = [each for each in claim.slices if each.ready and not each.asleep]
    missing = rate - sum(_efficient_rate(claim, each) for each in serving)
    if missing > 0:
        return Naps(wake=_woken(claim, missing))
    return Naps(sleep=_surplus(claim, serving, -missing))


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


def _woken(claim: facts.ClaimFacts, missing: float) -> frozenset[str]:
    sleepers = [each for each in claim.slices if each.asleep and _useful(claim, each)]
    chosen = set()
    for each in sorted(sleepers, key=lambda each: (-each.neighbours_percent, each.id)):
        if missing <= 0:
            break
        chosen.add(each.id)
        missing -= _efficient_rate(claim, each)
    return frozenset(chosen)


def _surplus(claim: facts.ClaimFacts, serving: list[facts.SliceFacts], spare: float) -> frozenset[str]:
    chosen: set[str] = set()
    for each in sorted(serving, key=lambda each: (_useful(claim, each), each.neighbours_percent, each.id)):
        own = _efficient_rate(claim, each)
        if own <= spare and len(serving) - len(chosen) > max(1, claim.min_replicas):
            chosen.add(each.id)
            spare -= own
    return frozenset(chosen)


def _efficient_rate(claim: facts.ClaimFacts, slice_: facts.SliceFacts) -> float:
    return claim.curve.rate_at(min(claim.curve.efficient_percent, vertical.reachable(slice_)))


def _useful(claim: facts.ClaimFacts, slice_: facts.SliceFacts) -> bool:
    most = min(claim.curve.efficient_percent, slice_.limits.compute_percent)
    return vertical.reachable(slice_) >= USEFUL * most
