"""Knative's autoscaler: stable window of 60 s, panic window of 6 s, replicas of one fixed size by their rate.

Source: Knative's defaults: tick 2 s, panic at twice the ready replicas' target, at most halved per decision.
"""

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from elasticity import policy
from elasticity.policies import sizing

STABLE, PANIC = 60, 6
PANIC_RATIO = 2.0
MOST_DOWN = 2


@dataclass(slots=True)
class _Memory:
    rates: deque[float] = field(default_factory=lambda: deque(maxlen=STABLE // 2))
    panic_until: float = -1.0
    highest: int = 0


@dataclass(slots=True, kw_only=True)
class Kpa:
    """``target`` is the part of a replica's capacity that should be used (Knative: 0.7)."""

    target: float
    lends: bool = False
    tick_seconds: int = 2
    _memories: dict[str, _Memory] = field(default_factory=dict)

    def begin(self, services: Sequence[policy.Known]) -> Mapping[str, tuple[policy.New, ...]]:
        """A warm start at the target."""
        return {
            each.name: sizing.efficient(
                each.profile, sizing.replicas(each.profile, sizing.beginning(each) / self.target)
            )
            for each in services
        }

    def decide(self, view: policy.View) -> Mapping[str, policy.Orders]:
        """One tick."""
        return {each.name: sizing.resized(each, self._wished(each, view.now)) for each in view.services}

    def _wished(self, service: policy.Service, now: float) -> int:
        memory = self._memories.setdefault(service.name, _Memory())
        memory.rates.append(service.rate)
        ready = max(1, len(service.serving))
        capacity = self.target * service.profile.curve.efficient_rate
        stable = self._clamped(sum(memory.rates) / len(memory.rates) / capacity, ready)
        last = list(memory.rates)[-PANIC // 2 :]
        panic = self._clamped(sum(last) / len(last) / capacity, ready)
        if panic >= PANIC_RATIO * ready:
            memory.panic_until = now + STABLE
        if now >= memory.panic_until:
            memory.highest = 0
            return stable
        memory.highest = max(memory.highest, panic, ready)
        return memory.highest

    @staticmethod
    def _clamped(wished: float, ready: int) -> int:
        return max(1, ready // MOST_DOWN, math.ceil(wished - 1e-9))
