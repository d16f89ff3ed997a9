"""The replica set of policies that resize slices only: as many replicas as the load's peak needs."""

from collections.abc import Sequence

from elasticity import policy
from elasticity.policies import sizing

PEAK = 0.999


def replicas(services: Sequence[policy.Known]) -> dict[str, tuple[policy.New, ...]]:
    """Replicas for the load's peak, at the share with which it begins."""
    orders = {}
    for each in services:
        count = sizing.replicas(each.profile, sizing.quantile(each.rates, PEAK))
        share = each.profile.curve.share_for(sizing.beginning(each) / count)
        orders[each.name] = (policy.New(share=max(each.profile.curve.floor_percent, round(share))),) * count
    return orders
