"""Accepted: whether pool and quota let the claim have what it asks."""

from vgpu import quota, values
from vgpu.api import names
from vgpu.api.conditions import ClaimCondition, Condition, Reason
from vgpu_operator.claim_conditions import saying
from vgpu_operator.claim_conditions.facts import Facts

KIND = ClaimCondition.ACCEPTED


def condition(facts: Facts) -> Condition:
    """True within the quota or borrowing; else what is in the way, and what to do."""
    if facts.pool_name is None:
        return saying.false(KIND, Reason.NO_DEFAULT_POOL, _NO_DEFAULT_POOL)
    if facts.pool is None:
        message = f"there is no VGPUPool {facts.pool_name}; create it, or a claim for another pool"
        return saying.false(KIND, Reason.POOL_NOT_FOUND, message)
    refusal = _quota_refusal(facts, facts.pool)
    if refusal is not None:
        return saying.false(KIND, Reason(refusal.reason.value), refusal.message)
    if 0 < facts.largest_bytes < facts.claim.requests.memory_bytes:
        return saying.false(KIND, Reason.EXCEEDS_DEVICE, _exceeds_device(facts, facts.pool))
    return _within(facts, facts.pool)


def _quota_refusal(facts: Facts, pool: values.Pool) -> values.Refusal | None:
    """The quota's no: to the pod that waits, or to a first pod that could never come."""
    if isinstance(facts.verdict, values.Refusal):
        return facts.verdict
    if facts.holdings or facts.waiting:
        return None
    claim = facts.claim
    first = claim.requests.times(claim.device_count)
    verdict = quota.check(pool, facts.used, namespace=claim.ref.namespace, extra=first)
    if isinstance(verdict, values.Refusal) and verdict.reason is values.Reason.EXCEEDS_QUOTA:
        return verdict
    return None


def _exceeds_device(facts: Facts, pool: values.Pool) -> str:
    largest = f"{facts.largest_bytes / values.GIB:g} GiB"
    asked = f"{facts.claim.requests.memory_bytes / values.GIB:g} GiB"
    return (
        f"{asked} per GPU asked; the largest GPU of pool {pool.name} can promise {largest};"
        " ask for less, or for more GPUs with less on each"
    )


def _within(facts: Facts, pool: values.Pool) -> Condition:
    namespace = facts.claim.ref.namespace
    used = facts.used.get(namespace, values.NOTHING)
    mine = (pool.quotas or {}).get(namespace)
    if mine is None:
        message = f"pool {pool.name} sets no quota for namespace {namespace}"
        return saying.true(KIND, Reason.WITHIN_QUOTA, message)
    borrowed = quota.borrowed(mine, used)
    if borrowed == values.NOTHING:
        message = f"namespace {namespace} holds {used} of its {mine.nominal} in pool {pool.name}"
        return saying.true(KIND, Reason.WITHIN_QUOTA, message)
    message = f"namespace {namespace} holds {used} of pool {pool.name}, {borrowed} of it borrowed from others"
    return saying.true(KIND, Reason.BORROWING, message)


_NO_DEFAULT_POOL = (
    "the claim names no pool and no pool is the default;"
    f" create the claim with spec.poolName, or annotate a pool with {names.DEFAULT_POOL_ANNOTATION}=true"
)
