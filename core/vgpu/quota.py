"""What a namespace may hold of a pool: nominal, and borrowing from what others leave unused.

The words and the rule are Kueue's, with the pool as the cohort: within its nominal a namespace is always
admitted; above it, up to the borrowing limit, only while all namespaces together stay within the sum of
the nominals. Amounts are totals over slices and GPUs, growth included.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from vgpu import values


class Standing(Enum):
    """How an admitted amount relates to the namespace's quota."""

    UNBOUND = "Unbound"
    WITHIN = "Within"
    BORROWING = "Borrowing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """The amount may be taken."""

    standing: Standing


def check(
    pool: values.Pool, used: Mapping[str, values.Amounts], *, namespace: str, extra: values.Amounts
) -> Admitted | values.Refusal:
    """Whether ``namespace`` may take ``extra`` on top of what is ``used`` per namespace.

    The refusal is EXCEEDS_QUOTA when no release by anybody could let it in, else WAITING_FOR_QUOTA.
    """
    if pool.quotas is None:
        return Admitted(standing=Standing.UNBOUND)
    quota = pool.quotas.get(namespace)
    if quota is None:
        return _exceeds(f"pool {pool.name} has no quota for namespace {namespace}; ask its owner for one")
    own = used.get(namespace, values.NOTHING)
    if quota.nominal.covers(own + extra):
        return Admitted(standing=Standing.WITHIN)
    return _borrow(pool, quota, used, namespace=namespace, own=own, extra=extra)


def headroom(
    pool: values.Pool, used: Mapping[str, values.Amounts], *, namespace: str
) -> values.Amounts | None:
    """The most that ``check`` admits on top of what is used, each dimension by itself; None without a bound.

    Negative where the namespace holds more than it may.
    """
    if pool.quotas is None:
        return None
    own = used.get(namespace, values.NOTHING)
    quota = pool.quotas.get(namespace)
    if quota is None:
        return values.NOTHING - own
    reach = quota.nominal + _unused_by_others(pool, used, namespace)
    return _ceiling(pool, quota).at_most(reach) - own


def borrowed(quota: values.Quota, used: values.Amounts) -> values.Amounts:
    """How much of ``used`` lies above the nominal, in each dimension."""
    return (used - quota.nominal).at_least(values.NOTHING)


def _borrow(
    pool: values.Pool,
    quota: values.Quota,
    used: Mapping[str, values.Amounts],
    *,
    namespace: str,
    own: values.Amounts,
    extra: values.Amounts,
) -> Admitted | values.Refusal:
    ceiling = _ceiling(pool, quota)
    if not ceiling.covers(extra):
        return _exceeds(
            f"{extra} asked; namespace {namespace} may never hold more than {ceiling} of pool {pool.name}"
        )
    if not ceiling.covers(own + extra):
        return _waits(f"{extra} asked; namespace {namespace} holds {own} of {ceiling} of pool {pool.name}")
    unused = _unused_by_others(pool, used, namespace)
    missing = _where_asked(borrowed(quota, own + extra), extra)
    if not unused.covers(missing):
        return _waits(
            f"{extra} asked; namespace {namespace} holds {own} and would have to borrow {missing},"
            f" the other namespaces of pool {pool.name} leave {unused} unused"
        )
    return Admitted(standing=Standing.BORROWING)


def _ceiling(pool: values.Pool, quota: values.Quota) -> values.Amounts:
    """Nominal plus borrowing limit; without a limit, the sum of all nominals."""
    if quota.borrowing_limit is not None:
        return quota.nominal + quota.borrowing_limit
    return _total_nominal(pool)


def _total_nominal(pool: values.Pool) -> values.Amounts:
    return sum((quota.nominal for quota in (pool.quotas or {}).values()), values.NOTHING)


def _unused_by_others(
    pool: values.Pool, used: Mapping[str, values.Amounts], namespace: str
) -> values.Amounts:
    """What the other nominals leave after the others' use; an overdrawn dimension counts as nothing."""
    others = {name: quota for name, quota in (pool.quotas or {}).items() if name != namespace}
    left = (quota.nominal - used.get(name, values.NOTHING) for name, quota in others.items())
    return sum(left, values.NOTHING).at_least(values.NOTHING)


def _where_asked(amount: values.Amounts, extra: values.Amounts) -> values.Amounts:
    """``amount`` in the dimensions of which ``extra`` asks something, nothing elsewhere."""
    return values.Amounts(
        memory_bytes=amount.memory_bytes if extra.memory_bytes else 0,
        compute_percent=amount.compute_percent if extra.compute_percent else 0,
    )


def _exceeds(message: str) -> values.Refusal:
    return values.Refusal(reason=values.Reason.EXCEEDS_QUOTA, message=message)


def _waits(message: str) -> values.Refusal:
    return values.Refusal(reason=values.Reason.WAITING_FOR_QUOTA, message=message)
