"""Autothrottle's Captain: the share follows the part of 100-ms periods in which a slice was throttled.

Source: Wang et al., "Autothrottle", NSDI'24, and its code. Its check for a roll-back every 100 ms is made
every second here; the target ratio, which its Tower chooses online, is an argument.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from elasticity import policy
from elasticity.policies import peak_sized

PERIODS = 10
ROLL_BACK = 3.0
WORTH = 0.9
LEAST = 0.5


@dataclass(slots=True)
class _Memory:
    margin: float = 3.0
    before_shrink: float | None = None


@dataclass(slots=True, kw_only=True)
class Captain:
    """``target`` is the tolerated part of throttled periods."""

    target: float
    lends: bool = False
    tick_seconds: int = 1
    _memories: dict[str, _Memory] = field(default_factory=dict)

    def begin(self, services: Sequence[policy.Known]) -> Mapping[str, tuple[policy.New, ...]]:
        """As many replicas as the peak needs."""
        return peak_sized.replicas(services)

    def decide(self, view: policy.View) -> Mapping[str, policy.Orders]:
        """Every replica by itself."""
        return {
            service.name: policy.Orders(
                shares={each.id: self._share(each, service) for each in service.serving if each.used_steps}
            )
            for service in view.services
        }

    def _share(self, replica: policy.Replica, service: policy.Service) -> int:
        memory = self._memories.setdefault(replica.id, _Memory())
        ratio, share = replica.throttled_steps / PERIODS, float(replica.share)
        wished = self._wished(memory, replica, ratio, share)
        memory.before_shrink = share if wished < share else None
        return max(service.profile.curve.floor_percent, min(100, round(wished)))

    def _wished(self, memory: _Memory, replica: policy.Replica, ratio: float, share: float) -> float:
        if memory.before_shrink is not None and ratio > ROLL_BACK * self.target:
            memory.margin += ratio - self.target
            return 2 * memory.before_shrink - share
        memory.margin = max(0.0, memory.margin + ratio - self.target)
        if ratio > ROLL_BACK * self.target:
            return share * (1 + ratio - ROLL_BACK * self.target)
        used = replica.used_steps
        proposed = max(used) + statistics.pstdev(used) * memory.margin
        return max(LEAST * share, proposed) if proposed <= WORTH * share else share
