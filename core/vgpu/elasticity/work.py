"""What a slice of each size serves: from a profile, or learned from use per unit of work.

Whether a slice should have that size is decided in ``vertical`` and ``horizontal``.
"""

import bisect
from collections.abc import Sequence
from dataclasses import dataclass, replace

STRETCH = 0.9
"""Part of the best rate per percent down to which a slice grows before another replica serves."""

WORTHWHILE = 1 / 3
"""Part of the efficient rate per percent below which a larger slice is no use."""

FORGET = 0.02
"""How much of what was learned about the compute per unit of work fades with each new second."""


@dataclass(frozen=True, slots=True)
class Curve:
    """Rates that slices of ascending shares (percent of one GPU) serve within the objective.

    Between points it is linear, below the first proportional; a larger share than the last serves no more.
    ``efficient_percent`` serves most per percent, ``floor_percent`` is the least at which one unit of work
    still meets the objective.
    """

    shares: tuple[int, ...]
    rates: tuple[float, ...]
    efficient_percent: int
    floor_percent: int = 1

    def __post_init__(self) -> None:
        if not self.shares or len(self.shares) != len(self.rates):
            raise ValueError(f"expected as many shares as rates, found {len(self.shares)}, {len(self.rates)}")
        if list(self.shares) != sorted(set(self.shares)) or list(self.rates) != sorted(self.rates):
            raise ValueError("expected ascending shares and rates that never fall")
        if self.shares[0] <= 0 or self.rates[0] <= 0:
            raise ValueError("expected shares and rates above zero")

    def rate_at(self, share: float) -> float:
        """Units per second that a slice of this share serves."""
        if share <= self.shares[0]:
            return self.rates[0] * share / self.shares[0]
        if share >= self.shares[-1]:
            return self.rates[-1]
        i = bisect.bisect_right(self.shares, share)
        low, high = self.shares[i - 1], self.shares[i]
        part = (share - low) / (high - low)
        return self.rates[i - 1] + part * (self.rates[i] - self.rates[i - 1])

    def share_for(self, rate: float) -> float:
        """The least share that serves this rate; the last one where none does."""
        if rate <= self.rates[0]:
            return self.shares[0] * max(0.0, rate) / self.rates[0]
        if rate > self.rates[-1]:
            return float(self.shares[-1])
        i = bisect.bisect_left(self.rates, rate)
        low, high = self.rates[i - 1], self.rates[i]
        return self.shares[i - 1] + (rate - low) / (high - low) * (self.shares[i] - self.shares[i - 1])

    @property
    def stretched_percent(self) -> int:
        """The largest share that still serves nearly as much per percent as the efficient one."""
        least = STRETCH * self.efficient_rate / self.efficient_percent
        pairs = zip(self.shares, self.rates, strict=True)
        return max([self.efficient_percent, *(share for share, rate in pairs if rate >= least * share)])

    @property
    def worthwhile_percent(self) -> int:
        """The largest share whose part above the efficient one still serves a third of what that serves."""
        least = WORTHWHILE * self.efficient_rate / self.efficient_percent
        pairs = zip(self.shares, self.rates, strict=True)
        above = (
            (share, rate - self.efficient_rate) for share, rate in pairs if share > self.efficient_percent
        )
        grown = (share for share, more in above if more >= least * (share - self.efficient_percent))
        return max([self.efficient_percent, *grown])

    @property
    def efficient_rate(self) -> float:
        """What one slice of the efficient size serves."""
        return self.rate_at(self.efficient_percent)


def curve(points: Sequence[tuple[int, float]], *, floor_percent: int = 1) -> Curve:
    """The curve through measured (share, rate) points, in any order; a rate that falls is levelled."""
    shares, rates, best = [], [], 0.0
    for share, rate in sorted(points):
        best = max(best, rate)
        shares.append(share)
        rates.append(best)
    efficient = max(range(len(shares)), key=lambda i: rates[i] / shares[i])
    return Curve(tuple(shares), tuple(rates), shares[efficient], floor_percent)


def linear(percent_per_unit: float, *, largest_percent: int) -> Curve:
    """Every unit of work per second costs the same share, on a slice of any size."""
    if percent_per_unit <= 0:
        raise ValueError(f"expected a cost above zero, found {percent_per_unit}")
    return Curve((largest_percent,), (largest_percent / percent_per_unit,), largest_percent)


def demand(used_percent: float, throttled: float) -> float:
    """De-censored use: what a slice would have used, had it not been held back for part of the time.

    An alarm rather than a size: a batching server is always busy, so this asks for the fastest share.
    """
    return used_percent / max(0.05, 1.0 - throttled)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """The compute that a unit of work per second needs, learned from seconds of use and rate; old ones fade.

    Seconds on lent compute count only while there are no others: a server spends what it is lent without
    needing it. Sums rather than a mean of quotients, so that seconds of little work weigh little.
    """

    used: float = 0.0
    rate: float = 0.0
    lent_used: float = 0.0
    lent_rate: float = 0.0

    @property
    def percent_per_unit(self) -> float | None:
        """Percent of one GPU per unit of work per second; None until work was seen to use any."""
        if self.used > 0 and self.rate > 0:
            return self.used / self.rate
        return self.lent_used / self.lent_rate if self.lent_used > 0 and self.lent_rate > 0 else None

    def after(self, *, used_percent: float, rate: float, lent: bool) -> "Cost":
        """What is known after one more second; seconds without work or use teach nothing."""
        if not (rate > 0 and used_percent > 0):
            return self
        kept = 1.0 - FORGET
        if lent:
            seen = self.lent_used * kept + used_percent, self.lent_rate * kept + rate
            return replace(self, lent_used=seen[0], lent_rate=seen[1])
        return replace(self, used=self.used * kept + used_percent, rate=self.rate * kept + rate)
