"""HorizontalPodAutoscaler: replicas of one fixed size by requests per second and replica.

Source: Kubernetes' algorithm and defaults: ``ceil(ready * ratio)``, tolerance 0.1, 15-s sync, up at most by
the larger of 4 replicas and 100 % per sync, down by the largest answer of 300 s.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from elasticity import policy
from elasticity.policies import sizing

TOLERANCE = 0.1
WINDOW = 300.0
STEP_REPLICAS = 4


@dataclass(slots=True, kw_only=True)
class Hpa:
    """``target`` is the part of a replica's capacity that should be used."""

    target: float
    lends: bool = False
    tick_seconds: int = 15
    _answers: dict[str, list[tuple[float, int]]] = field(default_factory=dict)

    def begin(self, services: Sequence[policy.Known]) -> Mapping[str, tuple[policy.New, ...]]:
        """A warm start at the target."""
        return {
            each.name: sizing.efficient(
                each.profile, sizing.replicas(each.profile, sizing.beginning(each) / self.target)
            )
            for each in services
        }

    def decide(self, view: policy.View) -> Mapping[str, policy.Orders]:
        """One sync."""
        return {each.name: sizing.resized(each, self._wished(each, view.now)) for each in view.services}

    def _wished(self, service: policy.Service, now: float) -> int:
        present, ready = len(service.replicas), max(1, len(service.serving))
        ratio = service.rate / ready / (self.target * service.profile.curve.efficient_rate)
        answer = present if abs(1 - ratio) <= TOLERANCE else max(1, math.ceil(ready * ratio - 1e-9))
        if answer > present:
            answer = min(answer, present + max(STEP_REPLICAS, present))
        kept = [(at, n) for at, n in self._answers.get(service.name, []) if at > now - WINDOW]
        self._answers[service.name] = [*kept, (now, answer)]
        return max(answer, min(present, max(n for _, n in self._answers[service.name])))
