"""From one load to the requests of several services: scaled, shifted in phase, drawn from a seed."""

import random
from dataclasses import dataclass

from elasticity import profiles

MEAN_GPUS = 2.7
PEAK_GPUS = 7.0
PEAK_PART = 0.999
PEAK_SECONDS = 5


@dataclass(frozen=True, slots=True)
class Demand:
    """One service's load: its model, the true rate per second, and the time of each request."""

    profile: profiles.Profile
    rates: tuple[float, ...]
    times: tuple[float, ...]


def demands(rates: list[float], models: list[profiles.Profile], *, seed: int) -> list[Demand]:
    """The same load for every model, each shifted by its part of the whole.

    Levels are such that all together need 2.7 GPUs in the mean, on slices of the efficient size, but no more
    than 7 if each service had its own peak for itself all the time: eight cards can hold the static oracle.
    """
    shapes = [_shifted(rates, i * len(rates) // len(models)) for i in range(len(models))]
    mean = sum(rates) / len(rates)
    level = min(MEAN_GPUS, PEAK_GPUS * mean / _peak(rates))
    draw = random.Random(seed)
    return [
        _demand(model, shape, level / len(models) / mean, draw)
        for model, shape in zip(models, shapes, strict=True)
    ]


def level(models: list[profiles.Profile], *, gpus: float, seconds: int, seed: int) -> list[Demand]:
    """A constant rate for every model; in equal parts they need so many GPUs."""
    draw = random.Random(seed)
    return [_demand(model, [1.0] * seconds, gpus / len(models), draw) for model in models]


def _shifted(rates: list[float], by: int) -> list[float]:
    return rates[by:] + rates[:by]


def _peak(rates: list[float]) -> float:
    """What all but a thousandth of the load's seconds stay below, averaged over five."""
    means = [sum(rates[i : i + PEAK_SECONDS]) / PEAK_SECONDS for i in range(len(rates) - PEAK_SECONDS + 1)]
    return sorted(means)[int(PEAK_PART * (len(means) - 1))]


def _demand(model: profiles.Profile, shape: list[float], gpus: float, draw: random.Random) -> Demand:
    per_gpu = 100 * model.curve.efficient_rate / model.curve.efficient_percent
    rates = tuple(gpus * per_gpu * value for value in shape)
    times: list[float] = []
    for second, rate in enumerate(rates):
        times.extend(sorted(second + draw.random() for _ in range(_poisson(rate, draw))))
    return Demand(profile=model, rates=rates, times=tuple(times))


def _poisson(mean: float, draw: random.Random) -> int:
    """Arrivals of an exponential clock within one second."""
    count, left = 0, draw.expovariate(1.0)
    while left < mean:
        count += 1
        left += draw.expovariate(1.0)
    return count
