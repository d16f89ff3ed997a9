"""What the rate of work will be: robust statistics and a short trend over the recent past.

Times are seconds, series are oldest first. What follows from a rate is decided elsewhere.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Trend:
    """The straight line through a series, seen from its last point: ``slope`` per second, and its error."""

    slope: float
    error: float

    def significant(self, errors: float) -> bool:
        """True when the series rises by more than so many standard errors."""
        return self.slope > errors * self.error


FLAT = Trend(0.0, 0.0)


def trend(rates: Sequence[float]) -> Trend:
    """Least squares over samples one second apart; flat when there are fewer than eight."""
    count = len(rates)
    if count < 8:
        return FLAT
    middle, mean = (count - 1) / 2, sum(rates) / count
    spread = count * (count * count - 1) / 12
    across = sum((i - middle) * rate for i, rate in enumerate(rates))
    slope = across / spread
    total = sum((rate - mean) ** 2 for rate in rates)
    rest = max(0.0, total - slope * across)
    return Trend(slope, math.sqrt(rest / (count - 2) / spread))


def mean(rates: Sequence[float]) -> float:
    """The mean; zero of nothing."""
    return sum(rates) / len(rates) if rates else 0.0


def median(rates: Sequence[float]) -> float:
    """The middle of the sorted rates, the upper one of two; zero of nothing."""
    return sorted(rates)[len(rates) // 2] if rates else 0.0


def deviation(rates: Sequence[float]) -> float:
    """The standard deviation around the mean; zero of fewer than two."""
    if len(rates) < 2:
        return 0.0
    centre = sum(rates) / len(rates)
    return math.sqrt(sum((rate - centre) ** 2 for rate in rates) / (len(rates) - 1))
