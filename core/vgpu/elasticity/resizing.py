"""Which slices change, and to what: shares as one set, memory each for itself, all within the quota.

The ideal shares come from ``vertical``. Here they are kept from following every breath of the load: the set
grows when together it serves too little, and shrinks when it has served far too much for a while.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from vgpu import values
from vgpu.elasticity import demand, facts, memory, pace, settings, state, vertical, work


def allocations(
    claim: facts.ClaimFacts,
    wanted: demand.Demand,
    sized: vertical.Sizes,
    after: state.State,
    rule: settings.Settings,
    *,
    now: float,
) -> dict[str, values.Amounts]:
    """The slices that change, with what they should have; sleepers get their requests."""
    shares = _shares(claim, wanted, sized, after, rule, now=now)
    changed = {}
    for each in claim.slices:
        percent = shares.get(each.id, each.allocated.compute_percent)
        if each.id in after.asleep_since:
            percent = each.requests.compute_percent
        amounts = values.Amounts(memory_bytes=memory.wished_bytes(each, rule), compute_percent=percent)
        if amounts != each.allocated:
            changed[each.id] = amounts
    return _within_quota(claim, changed, rule)


def _shares(
    claim: facts.ClaimFacts,
    wanted: demand.Demand,
    sized: vertical.Sizes,
    after: state.State,
    rule: settings.Settings,
    *,
    now: float,
) -> dict[str, int]:
    serving = [each for each in claim.slices if each.id in sized.percent]
    quiet = {id_ for id_ in sized.percent if now - after.grown_at[id_] >= wanted.pace.hold_seconds}
    return settled(
        serving, sized.percent, wanted.asked, claim.curve, allowed=wanted.pace, quiet=quiet, rule=rule
    )


def settled(
    slices: Sequence[facts.SliceFacts],
    wished: Mapping[str, int],
    rate: float,
    curve: work.Curve,
    *,
    allowed: pace.Pace,
    quiet: set[str],
    rule: settings.Settings,
) -> dict[str, int]:
    """The shares that change while all together serve less or more of the rate than the pace allows.

    So do they when one that serves is too small for any work: what it takes would be late. Only the
    ``quiet`` shrink. A set whose wish is its requests goes there exactly.
    """
    served = sum(curve.rate_at(each.allocated.compute_percent) for each in slices)
    if _too_small(slices, wished, curve) or served < rate * (1 - rule.lack):
        return _grown(slices, wished, rule)
    needed = sum(curve.rate_at(wished[each.id]) for each in slices)
    least = all(wished[each.id] <= each.requests.compute_percent for each in slices)
    if least:
        return _moved(slices, wished, quiet, rule)
    if served > max(rate, needed) * (1 + allowed.surplus):
        looser = vertical.sizes(slices, rate=rate * (1 + allowed.slack), curve=curve).percent
        return _moved(slices, looser, quiet, rule)
    return {}


def _too_small(slices: Sequence[facts.SliceFacts], wished: Mapping[str, int], curve: work.Curve) -> bool:
    """True when a slice could have the least that is of use, and has less: it has just woken."""
    return any(
        each.allocated.compute_percent < min(wished[each.id], vertical.floor(each, curve)) for each in slices
    )


def _grown(
    slices: Sequence[facts.SliceFacts], wished: Mapping[str, int], rule: settings.Settings
) -> dict[str, int]:
    """Those that grow by more than the deadband; where none does, all that grow."""
    grows = {each.id: wished[each.id] for each in slices if wished[each.id] > each.allocated.compute_percent}
    present = {each.id: each.allocated.compute_percent for each in slices}
    return {id_: it for id_, it in grows.items() if it > (1 + rule.deadband) * present[id_]} or grows


def _moved(
    slices: Sequence[facts.SliceFacts], wished: Mapping[str, int], quiet: set[str], rule: settings.Settings
) -> dict[str, int]:
    """Shrinks beyond the deadband of those that may, and what others grow to make the parts equal."""
    moved = {}
    for each in slices:
        share, present = wished[each.id], each.allocated.compute_percent
        worth = share < (1 - rule.deadband) * present or share == each.requests.compute_percent
        if share > present or (share < present and each.id in quiet and worth):
            moved[each.id] = share
    return moved


def _within_quota(
    claim: facts.ClaimFacts, changed: dict[str, values.Amounts], rule: settings.Settings
) -> dict[str, values.Amounts]:
    """The changes with growth cut, in order of ids, to what the quota admits beside the shrinks."""
    pool, held = claim.pool, {each.id: each for each in claim.slices}
    if pool.quota_percent is None and pool.quota_memory_bytes is None:
        return changed
    percent, memory_bytes = pool.quota_percent, pool.quota_memory_bytes
    cut = {}
    for id_ in sorted(changed):
        amounts, present = changed[id_], held[id_].allocated
        if percent is not None:
            most = present.compute_percent + max(0, percent)
            amounts = replace(amounts, compute_percent=min(amounts.compute_percent, most))
            percent -= max(0, amounts.compute_percent - present.compute_percent)
        if memory_bytes is not None:
            if amounts.memory_bytes - present.memory_bytes > max(0, memory_bytes):
                size = memory.whole(present.memory_bytes, max(0, memory_bytes), rule)
                amounts = replace(amounts, memory_bytes=size)
            memory_bytes -= max(0, amounts.memory_bytes - present.memory_bytes)
        if amounts != present:
            cut[id_] = amounts
    return cut
