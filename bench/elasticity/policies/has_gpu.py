"""HAS-GPU: a Kalman filter over the rate, quota steps of 10 % first, then replicas.

Source: HAS-GPU, Euro-Par'25, and its code: tick 2 s, 10-s rate, up above ``up`` of the capacity, down below
0.3 of it after 10 s, a card filled to 95 % at most. One filter per service (its code mixes them). Its
buffer of 5 requests/s, tuned for 5 to 15, is a tenth of the rate here, and 5 at most.
"""

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from elasticity import policy
from elasticity.policies import sizing

STEP = 10
FULL = 95
DOWN = 0.3
COOL_DOWN = 10.0
FILTER_Q, FILTER_R, ALPHA, BUFFER = 1.0, 10.0, 1.0, 5.0


@dataclass(slots=True)
class _Memory:
    rates: deque[float] = field(default_factory=lambda: deque(maxlen=5))
    level: float | None = None
    error: float = 1.0
    moved_at: float = -COOL_DOWN


@dataclass(slots=True, kw_only=True)
class HasGpu:
    """``up`` is the part of the capacity above which it grows (0.9 as published)."""

    up: float
    lends: bool = False
    tick_seconds: int = 2
    _memories: dict[str, _Memory] = field(default_factory=dict)

    def begin(self, services: Sequence[policy.Known]) -> Mapping[str, tuple[policy.New, ...]]:
        """A warm start at its target."""
        return {
            each.name: sizing.efficient(
                each.profile, sizing.replicas(each.profile, sizing.beginning(each) / self.up)
            )
            for each in services
        }

    def decide(self, view: policy.View) -> Mapping[str, policy.Orders]:
        """One tick, service after service."""
        free = [card.free_percent - (100 - FULL) for card in view.cards]
        return {each.name: self._orders(each, free, view.now) for each in view.services}

    def _orders(self, service: policy.Service, free: list[int], now: float) -> policy.Orders:
        memory = self._memories.setdefault(service.name, _Memory())
        memory.rates.append(service.rate)
        level = self._filtered(memory)
        curve = service.profile.curve
        capacity = sum(curve.rate_at(each.share) for each in service.replicas)
        if level > self.up * capacity:
            memory.moved_at = now
            return _more(service, level - self.up * capacity, free)
        if level < DOWN * capacity and now - memory.moved_at >= COOL_DOWN:
            memory.moved_at = now
            return _less(service, self.up * capacity - level)
        return policy.Orders()

    @staticmethod
    def _filtered(memory: _Memory) -> float:
        measured = sum(memory.rates) / len(memory.rates)
        buffer = min(BUFFER, 0.1 * measured)
        if memory.level is None:
            memory.level = measured + buffer
            return memory.level
        error = memory.error + FILTER_Q
        gain = error / (error + FILTER_R)
        estimate = memory.level + gain * (measured - memory.level)
        memory.error = (1 - gain) * error
        memory.level = max(estimate + ALPHA * math.sqrt(memory.error), measured + buffer)
        return memory.level


def _more(service: policy.Service, missing: float, free: list[int]) -> policy.Orders:
    """Quota of own replicas where it brings most, then new replicas."""
    curve, shares = service.profile.curve, {each.id: each.share for each in service.replicas}
    cards = {each.id: each.card for each in service.replicas}
    while missing > 1e-9:
        open_ = [id_ for id_, share in shares.items() if share < 100 and free[cards[id_]] >= STEP]
        gain = {id_: curve.rate_at(shares[id_] + STEP) - curve.rate_at(shares[id_]) for id_ in open_}
        best = max(open_, key=lambda id_: gain[id_], default=None)
        if best is None or gain[best] < 0.5 * STEP * curve.efficient_rate / curve.efficient_percent:
            break
        shares[best] = min(100, shares[best] + STEP)
        free[cards[best]] -= STEP
        missing -= gain[best]
    count = math.ceil(max(0.0, missing) / curve.efficient_rate - 1e-9)
    return policy.Orders(shares=shares, start=sizing.efficient(service.profile, count))


def _less(service: policy.Service, surplus: float) -> policy.Orders:
    """Replicas that are not needed, then quota of the smallest."""
    curve, shares = service.profile.curve, {each.id: each.share for each in service.replicas}
    removed: set[str] = set()
    for id_ in sorted(shares, key=lambda id_: shares[id_]):
        rate = curve.rate_at(shares[id_])
        if rate <= surplus and len(removed) + 1 < len(shares):
            removed.add(id_)
            surplus -= rate
            continue
        while shares[id_] > STEP and (lost := rate - curve.rate_at(shares[id_] - STEP)) <= surplus:
            shares[id_] -= STEP
            surplus -= lost
            rate -= lost
    kept = {id_: share for id_, share in shares.items() if id_ not in removed}
    return policy.Orders(shares=kept, remove=frozenset(removed))
