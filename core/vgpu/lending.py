"""The inner loop's decision: which slice of a device may use idle compute of others, for the next moment.

Pure and in whole percent of one GPU. An owner's own share is never touched: what is lent goes on top of a
borrower's, and it is taken back as soon as the owner's use moves. The signal is what each slice has used and
how long it was held back, never the device's average.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

WHOLE = 100

MARGIN_PERCENT = 5
"""How far a steady owner's use may rise before its whole share counts as wanted."""

HELD_BACK = 0.02
"""A slice that was held back for more than this part of a period wants more than it has."""

LONGEST_PERIODS = 50
"""For how many periods work that was launched is taken to run, where nothing has been measured of it."""

REMEMBERED_PERIODS = 5
"""How long an owner's peak is kept free for it before the rest of its share is lent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """One slice on one device over one period: what it holds, may reach, used, and was held back for.

    ``throttled_ns`` is time held back by its own limit, ``queued_ns`` by its work still in flight. Use is
    known when work is done; that it was launched, and that a slice is ``indebted`` (has launched more than
    its share has paid for), shows at once.
    """

    id: str
    allocated_percent: int
    ceiling_percent: int
    used_ns: int
    throttled_ns: int
    queued_ns: int = 0
    launches: int = 0
    indebted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What a slice may use in the next period.

    ``lent_percent`` goes on top of its allocation, ``reserved_percent`` of it is kept free for the slice
    itself. The next decision needs ``recent``, its last uses in percent, and ``running``, for how many
    periods it has had work under way of which nothing is measured.
    """

    lent_percent: int
    reserved_percent: int
    recent: tuple[int, ...]
    running: int = 0


def share(tenants: Sequence[Tenant], before: Mapping[str, Share], *, period_ns: int) -> dict[str, Share]:
    """Each slice's share of one device, by its id; ``before`` is the answer of the period that ended.

    Idle time goes to slices that were held back, up to their ceilings, in proportion to their allocations.
    All reserves and loans together are one GPU at most, unless the allocations alone are more.
    """
    recent = {each.id: _recent(each, before.get(each.id), period_ns) for each in tenants}
    running = {each.id: _running(each, before.get(each.id)) for each in tenants}
    reserved = {
        each.id: each.allocated_percent if running[each.id] else _reserved(each, recent[each.id], period_ns)
        for each in tenants
    }
    wishes = {each.id: _wish(each, before.get(each.id), recent[each.id], period_ns) for each in tenants}
    lent = _divided(WHOLE - sum(reserved.values()), tenants, wishes)
    return {
        each.id: Share(
            lent_percent=lent[each.id],
            reserved_percent=reserved[each.id],
            recent=recent[each.id],
            running=running[each.id],
        )
        for each in tenants
    }


def _recent(tenant: Tenant, before: Share | None, period_ns: int) -> tuple[int, ...]:
    past = before.recent if before else ()
    return (*past, _used_percent(tenant, period_ns))[-REMEMBERED_PERIODS:]


def _running(tenant: Tenant, before: Share | None) -> int:
    """For how many periods work has been under way; 0 once some of it was measured, or after too long."""
    if tenant.used_ns:
        return 0
    if tenant.launches:
        return 1
    past = before.running if before else 0
    return past + 1 if 0 < past < LONGEST_PERIODS else 0


def _reserved(tenant: Tenant, recent: tuple[int, ...], period_ns: int) -> int:
    """All of a slice's own share while its use moves or it waits; its recent peak once that is steady."""
    own, used = tenant.allocated_percent, recent[-1]
    waits = tenant.indebted or _held_back(tenant.throttled_ns + tenant.queued_ns, period_ns)
    if waits or len(recent) < REMEMBERED_PERIODS or used > max(recent[:-1]) + MARGIN_PERCENT:
        return own
    peak = max(recent)
    return min(own, peak + MARGIN_PERCENT) if peak else 0


def _wish(tenant: Tenant, before: Share | None, recent: tuple[int, ...], period_ns: int) -> int:
    """How much a slice would use on top of its own share; a borrower is judged by its recent peak."""
    most = max(0, tenant.ceiling_percent - tenant.allocated_percent)
    if _held_back(tenant.throttled_ns, period_ns):
        return most
    if before is None or before.lent_percent == 0:
        return 0
    beyond = max(recent) + MARGIN_PERCENT - tenant.allocated_percent
    return min(most, max(0, beyond))


def _divided(spare: int, tenants: Sequence[Tenant], wishes: Mapping[str, int]) -> dict[str, int]:
    """Whole percents in proportion to allocation, the larger first; what one does not wish others get."""
    lent = dict.fromkeys(wishes, 0)
    while hungry := _hungry(tenants, lent, wishes):
        left = spare - sum(lent.values())
        if left <= 0:
            break
        total = sum(max(1, each.allocated_percent) for each in hungry)
        for each in hungry:
            part = max(1, left * max(1, each.allocated_percent) // total)
            free = spare - sum(lent.values())
            lent[each.id] += min(part, free, wishes[each.id] - lent[each.id])
    return lent


def _hungry(tenants: Sequence[Tenant], lent: Mapping[str, int], wishes: Mapping[str, int]) -> list[Tenant]:
    unsatisfied = [each for each in tenants if lent[each.id] < wishes[each.id]]
    return sorted(unsatisfied, key=lambda each: (-each.allocated_percent, each.id))


def _used_percent(tenant: Tenant, period_ns: int) -> int:
    return math.ceil(WHOLE * tenant.used_ns / period_ns)


def _held_back(waited_ns: int, period_ns: int) -> bool:
    return waited_ns > HELD_BACK * period_ns
