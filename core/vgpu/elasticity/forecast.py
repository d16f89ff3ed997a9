"""What the rate of work is and will be: what samples say beyond their chance, and a short trend.

Times are seconds, series are oldest first with one value per second. What follows from a rate is decided
elsewhere.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

LEVEL_SECONDS = (1, 3, 8, 20)
"""Over these times a rate is judged: a short one is sure only of what it exceeds its chance by."""

RAMP_SECONDS = (4, 6, 8)
"""Over these times a ramp is looked for."""

KEPT_STEPS, KEPT_SQUARES = 0.9, 0.56
"""Of normal chance, the smaller nine tenths of all steps have 56 % of the sum of squares."""

ENOUGH = 8
"""Rates that tell how they vary."""


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
    """Least squares over samples one second apart; flat when there are too few."""
    count = len(rates)
    if count < ENOUGH:
        return FLAT
    slope, spread = _slope(rates)
    centre = mean(rates)
    total = sum((rate - centre) ** 2 for rate in rates)
    rest = max(0.0, total - slope * slope * spread)
    return Trend(slope, math.sqrt(rest / (count - 2) / spread))


def level(rates: Sequence[float], *, variance: float, errors: float) -> float:
    """The rate that is surely there: the mean of 20 s, or by how much a shorter mean exceeds its own chance.

    A step shows within a second when it is large, and within a few when it is small; chance does not show.
    ``variance`` is that of one second, chance arrivals at the least.
    """
    found = mean(rates[-LEVEL_SECONDS[-1] :])
    for seconds in LEVEL_SECONDS[:-1]:
        centre = mean(rates[-seconds:])
        found = max(found, centre - errors * math.sqrt(max(variance, centre) / seconds))
    return found


def ramp(rates: Sequence[float], *, errors: float) -> float:
    """The steepest rise of the last seconds, per second, that chance as it was before does not explain."""
    found = 0.0
    for seconds in RAMP_SECONDS:
        seen = rates[-seconds:]
        if len(seen) < seconds:
            break
        slope, spread = _slope(seen)
        chance = max(noise(rates[:-seconds]), mean(seen))
        if slope > errors * math.sqrt(chance / spread):
            found = max(found, slope)
    return found


def noise(rates: Sequence[float]) -> float:
    """The variance of one second around a level that moves: half the mean square of successive steps.

    The largest tenth of the steps is left out, as a level that moves makes large ones, and what normal chance
    has there is added. Source: von Neumann's mean square successive difference. While there are few rates it
    is that of chance arrivals.
    """
    if len(rates) < ENOUGH:
        return mean(rates)
    squares = sorted((after - before) ** 2 for before, after in itertools.pairwise(rates))
    kept = squares[: math.ceil(KEPT_STEPS * len(squares))]
    return sum(kept) / (2 * KEPT_SQUARES * len(squares))


def capacity(rate: float, *, variance: float, patience: float, risk: float) -> float:
    """What has to be served per second so that work waits longer than ``patience`` seconds with this risk.

    ``variance`` is that of the work of one second. Source: the queue in heavy traffic, whose backlog exceeds
    x with probability exp(-2 (c - rate) x / variance) when c is served; here x is c times the patience.
    """
    asked = -math.log(risk) * variance / (2 * patience)
    return rate / 2 + math.sqrt(rate * rate / 4 + asked)


def mean(rates: Sequence[float]) -> float:
    """The mean; zero of nothing."""
    return sum(rates) / len(rates) if rates else 0.0


def median(rates: Sequence[float]) -> float:
    """The middle of the sorted rates, the upper one of two; zero of nothing."""
    return sorted(rates)[len(rates) // 2] if rates else 0.0


def _slope(rates: Sequence[float]) -> tuple[float, float]:
    """The slope of the least squares, and the sum of squared times around their middle."""
    count = len(rates)
    middle, spread = (count - 1) / 2, count * (count * count - 1) / 12
    return sum((i - middle) * rate for i, rate in enumerate(rates)) / spread, spread
