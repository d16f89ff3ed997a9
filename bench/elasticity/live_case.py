"""What both runs of a live comparison share: the load, the service, its claim, the figures."""

import random
from dataclasses import dataclass
from pathlib import Path

from vgpu_e2e.localnode import load

RATES = Path(__file__).with_name("live.rates")
STEP_FACTOR = 3.0
"""The step is the first second with this many times the first one's rate."""


class BadRatesError(Exception):
    """The file is no list of rates with a step in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One service on two GPUs; a batch takes ``batch_ms`` and ``item_ms`` a request on a whole GPU."""

    rates: tuple[float, ...]
    seed: int
    batch_ms: float = 10.0
    item_ms: float = 10.0
    most: int = 8
    floor_percent: int = 15
    ceiling_percent: int = 60
    max_replicas: int = 3
    gpus: int = 2

    @property
    def objective(self) -> float:
        """Seconds: five latencies of a batch of one on a whole GPU, as in all tables of the simulator."""
        return 5 * (self.batch_ms + self.item_ms) / 1000

    @property
    def step_at(self) -> int:
        """The second at which the load steps up."""
        return next(at for at, rate in enumerate(self.rates) if rate >= STEP_FACTOR * self.rates[0])

    def times(self) -> list[float]:
        """When the requests come: the same for both."""
        return list(load.poisson(self.rates, seconds_per_rate=1.0, rng=random.Random(self.seed)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """One run; seconds, ``allocated`` in GPUs in the mean, ``request_ms`` of GPU time per request."""

    requests: int
    late_percent: float
    allocated: float
    first_growth: float | None
    first_replica: float | None
    most_replicas: int
    cold_start: float | None
    request_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """What slices hold together at one moment, in percent, and the replicas asked for."""

    at: float
    allocated: int
    replicas: int


def first_growth(moments: list[Moment], case: Case) -> float | None:
    """Seconds from the step until slices hold more than just before it."""
    before = max(each.allocated for each in moments if each.at <= case.step_at)
    return _first([each.at for each in moments if each.allocated > before], case)


def first_replica(moments: list[Moment], case: Case) -> float | None:
    """Seconds from the step until more replicas are asked for than just before it."""
    before = max(each.replicas for each in moments if each.at <= case.step_at)
    return _first([each.at for each in moments if each.replicas > before], case)


def _first(times: list[float], case: Case) -> float | None:
    return next((at - case.step_at for at in times if at > case.step_at), None)


def read(path: Path, *, seed: int) -> Case:
    """The case with the rates of a file; raises BadRatesError."""
    try:
        lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
        case = Case(rates=tuple(float(line) for line in lines), seed=seed)
    except (OSError, ValueError) as error:
        raise BadRatesError(f"expected a rate per line in {path}: {error}") from None
    if not any(rate >= STEP_FACTOR * case.rates[0] for rate in case.rates[1:]):
        told = f"expected a rate {STEP_FACTOR:g} times the first in {path}"
        raise BadRatesError(f"{told}: there is no step to answer")
    return case
