"""The replica set of policies that resize slices only: as many replicas as the load's peak needs."""

from collections.abc import Sequence

from elasticity import policy
from elasticity.policies import sizing

PEAK = 0.999


def replicas(services: Sequence[policy.Known]) -> dict[str, tuple[policy.New, ...]]:
    """Replicas of the efficient size for the load's peak; so placed, each has the room to come back to it."""
    return {
        each.name: sizing.efficient(
            each.profile,
            sizing.replicas(each.profile, sizing.quantile(each.rates, PEAK)),
            spread=True,
        )
        for each in services
    }
