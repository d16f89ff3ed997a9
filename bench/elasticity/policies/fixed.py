"""Fixed slices: as many replicas as a part of the load's seconds needs, all the time.

With the whole load known beforehand this is the static oracle.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from elasticity import policy
from elasticity.policies import sizing


@dataclass(slots=True, kw_only=True)
class Fixed:
    """``part`` of the seconds are served by what never changes (0.999: the oracle)."""

    part: float
    lends: bool = False
    tick_seconds: int = 60

    def begin(self, services: Sequence[policy.Known]) -> Mapping[str, tuple[policy.New, ...]]:
        """Sized from the whole load, averaged over five seconds."""
        return {
            each.name: sizing.efficient(
                each.profile, sizing.replicas(each.profile, sizing.quantile(_five(each.rates), self.part))
            )
            for each in services
        }

    def decide(self, view: policy.View) -> Mapping[str, policy.Orders]:
        """Never anything."""
        return {}


def _five(rates: Sequence[float]) -> list[float]:
    return [sum(rates[i : i + 5]) / len(rates[i : i + 5]) for i in range(len(rates))]
