"""Services without work: how long they count as busy, when they go to few or no replicas, what wakes them.

How large the slices of an idle service are follows from its demand like any other's.
"""

from dataclasses import replace

from vgpu.elasticity import facts, state


def must_wake(claim: facts.ClaimFacts) -> bool:
    """True when work waits and there is no replica that could do it."""
    return claim.replicas == 0 and claim.waiting is not None and claim.waiting > 0


def woken(before: state.State, *, now: float) -> state.State:
    """The state of a service that has just been given work."""
    return replace(before, busy_at=now)


def remembered(claim: facts.ClaimFacts, before: state.State, *, now: float) -> state.State:
    """The state that knows when work was last seen: in a sample, waiting, or at the first look."""
    seen = [sample.at for sample in claim.samples if sample.rate > 0]
    if (claim.queued or 0) > 0 or (claim.waiting or 0) > 0 or before.busy_at is None:
        seen.append(now)
    busy_at = max([*seen, before.busy_at or 0.0])
    return before if busy_at == before.busy_at else replace(before, busy_at=busy_at)


def idle(claim: facts.ClaimFacts, after: state.State, *, now: float) -> bool:
    """True when no work has come for as long as the claim says."""
    if claim.idle_seconds is None or after.busy_at is None:
        return False
    return now - after.busy_at >= claim.idle_seconds


def counted(claim: facts.ClaimFacts, count: int, after: state.State, *, now: float) -> int:
    """The count for a service that is idle, or that must not go to none before it is."""
    if idle(claim, after, now=now):
        return claim.min_replicas
    return max(count, min(1, claim.replicas or 0))
