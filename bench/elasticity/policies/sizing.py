"""Arithmetic that several policies share: replicas of the efficient size for a rate, and who goes first."""

import math
from collections.abc import Iterable

from elasticity import policy, profiles


def replicas(profile: profiles.Profile, rate: float) -> int:
    """Replicas of the efficient size that serve the rate, at least one."""
    return max(1, math.ceil(rate / profile.curve.efficient_rate - 1e-9))


def efficient(profile: profiles.Profile, count: int, *, spread: bool = False) -> tuple[policy.New, ...]:
    """So many new replicas of the efficient size."""
    return (policy.New(share=profile.curve.efficient_percent, spread=spread),) * count


def quantile(values: Iterable[float], part: float) -> float:
    """The value that this part of all values does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def beginning(known: policy.Known) -> float:
    """The rate with which the load begins: a warm start for every policy."""
    return sum(known.rates[:30]) / len(known.rates[:30])


def resized(service: policy.Service, count: int, *, spread: bool = False) -> policy.Orders:
    """Orders for ``count`` replicas of the efficient size; the newest go first."""
    present = len(service.replicas)
    if count >= present:
        return policy.Orders(start=efficient(service.profile, count - present, spread=spread))
    newest = sorted(service.replicas, key=lambda each: (each.ready, -number(each.id)))
    return policy.Orders(remove=frozenset(each.id for each in newest[: present - count]))


def number(replica_id: str) -> int:
    """The running number in a replica's id."""
    return int(replica_id.rsplit("-", 1)[1])
