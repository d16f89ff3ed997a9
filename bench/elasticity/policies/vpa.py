"""VerticalPodAutoscaler, in place: the share is a percentile of decaying use, with a margin.

Source: the recommender's p90, margin 1.15, halved weights, minute samples; the updater's 10 % threshold.
The published half-life of 24 h is longer than these loads: it is an argument.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from elasticity import policy
from elasticity.policies import peak_sized

MARGIN = 1.15
THRESHOLD = 0.1


@dataclass(slots=True, kw_only=True)
class Vpa:
    """``percentile`` of use with weights that halve every ``half_life`` seconds."""

    percentile: float
    half_life: float = 600.0
    lends: bool = False
    tick_seconds: int = 10
    _samples: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    def begin(self, services: Sequence[policy.Known]) -> Mapping[str, tuple[policy.New, ...]]:
        """As many replicas as the peak needs."""
        return peak_sized.replicas(services)

    def decide(self, view: policy.View) -> Mapping[str, policy.Orders]:
        """The same share for all replicas of a service."""
        return {each.name: self._orders(each, view.now) for each in view.services}

    def _orders(self, service: policy.Service, now: float) -> policy.Orders:
        if not service.serving:
            return policy.Orders()
        samples = self._samples.setdefault(service.name, [])
        samples.append((now, max(each.used_percent for each in service.serving)))
        wished = max(service.profile.curve.floor_percent, math.ceil(MARGIN * self._weighted(samples, now)))
        moved = {
            each.id: min(100, wished)
            for each in service.replicas
            if abs(wished - each.share) >= THRESHOLD * each.share
        }
        return policy.Orders(shares=moved)

    def _weighted(self, samples: list[tuple[float, float]], now: float) -> float:
        weights = sorted((used, 2 ** ((at - now) / self.half_life)) for at, used in samples)
        left = self.percentile * sum(weight for _, weight in weights)
        for used, weight in weights:
            left -= weight
            if left <= 0:
                return used
        return weights[-1][0]
