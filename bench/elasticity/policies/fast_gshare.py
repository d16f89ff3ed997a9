"""FaST-GShare: replicas of profiled sizes follow the rate of ten seconds.

Source: FaST-GShare, ICPP'23: acts when rate and capacity differ by more than 20 %; up with replicas of the
most efficient size and one that just covers the rest, down by whole replicas.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from elasticity import policy
from elasticity.policies import sizing

DIFFERENCE = 0.2


@dataclass(slots=True, kw_only=True)
class FastGShare:
    """``factor`` multiplies the measured rate (1: as published)."""

    factor: float
    lends: bool = False
    tick_seconds: int = 10

    def begin(self, services: Sequence[policy.Known]) -> Mapping[str, tuple[policy.New, ...]]:
        """A warm start with the factor."""
        return {
            each.name: sizing.efficient(
                each.profile, sizing.replicas(each.profile, self.factor * sizing.beginning(each))
            )
            for each in services
        }

    def decide(self, view: policy.View) -> Mapping[str, policy.Orders]:
        """One tick."""
        return {each.name: self._orders(each) for each in view.services}

    def _orders(self, service: policy.Service) -> policy.Orders:
        curve = service.profile.curve
        capacity = sum(curve.rate_at(each.share) for each in service.replicas)
        missing = self.factor * service.rate - capacity
        if abs(missing) <= DIFFERENCE * capacity:
            return policy.Orders()
        return _more(service, missing) if missing > 0 else _less(service, -missing)


def _more(service: policy.Service, missing: float) -> policy.Orders:
    curve = service.profile.curve
    whole = int(missing / curve.efficient_rate)
    rest = missing - whole * curve.efficient_rate
    start = sizing.efficient(service.profile, whole)
    if rest > 0:
        share = max(curve.floor_percent, round(curve.share_for(rest) + 0.5))
        start = (*start, policy.New(share=share))
    return policy.Orders(start=start)


def _less(service: policy.Service, surplus: float) -> policy.Orders:
    curve = service.profile.curve
    removed: set[str] = set()
    for each in sorted(service.replicas, key=lambda replica: replica.share):
        rate = curve.rate_at(each.share)
        if rate <= surplus and len(removed) + 1 < len(service.replicas):
            removed.add(each.id)
            surplus -= rate
    return policy.Orders(remove=frozenset(removed))
