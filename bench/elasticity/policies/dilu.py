"""Dilu: replicas by the lazy rule; shares between request and limit from moment to moment.

Source: Lv et al., "Dilu", ASPLOS'25, and its code: out by one when 20 of the last 40 s exceed the throughput
of n replicas, in by one when 30 of 40 s lie below that of n - 1; the history is cleared after each step. Its
token server is replaced by our lending, which gives back within 100 ms.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from elasticity import policy
from elasticity.policies import sizing

WINDOW, OUT, IN = 40, 20, 30


@dataclass(slots=True, kw_only=True)
class Dilu:
    """``headroom`` divides the throughput a replica is trusted with (1: as published).

    ``spread`` places replicas of a service on different cards, which lending likes, instead of packing them.
    """

    headroom: float
    spread: bool = False
    lends: bool = True
    tick_seconds: int = 1
    _rates: dict[str, deque[float]] = field(default_factory=dict)

    def begin(self, services: Sequence[policy.Known]) -> Mapping[str, tuple[policy.New, ...]]:
        """A warm start with the headroom."""
        return {
            each.name: sizing.efficient(
                each.profile,
                sizing.replicas(each.profile, self.headroom * sizing.beginning(each)),
                spread=self.spread,
            )
            for each in services
        }

    def decide(self, view: policy.View) -> Mapping[str, policy.Orders]:
        """One second."""
        return {
            each.name: sizing.resized(each, self._wished(each), spread=self.spread) for each in view.services
        }

    def _wished(self, service: policy.Service) -> int:
        rates = self._rates.setdefault(service.name, deque(maxlen=WINDOW))
        rates.append(service.rate)
        count, each = len(service.replicas), service.profile.curve.efficient_rate / self.headroom
        if sum(rate > count * each for rate in rates) >= OUT:
            rates.clear()
            return count + 1
        if count > 1 and sum(rate < (count - 1) * each for rate in rates) >= IN:
            rates.clear()
            return count - 1
        return max(1, count)
