import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vgpu.elasticity import forecast, state

RATES = st.lists(st.floats(0, 1e4), max_size=60)


def test_a_straight_rise_is_significant_and_has_its_slope() -> None:
    line = forecast.trend([3.0 * i for i in range(40)])

    assert line.slope == pytest.approx(3.0)
    assert line.significant(4.0)


def test_a_single_spike_is_no_trend() -> None:
    assert not forecast.trend([*([10.0] * 38), 200.0, 10.0]).significant(4.0)


@given(RATES)
def test_the_median_and_the_mean_lie_within_the_series(rates: list[float]) -> None:
    low, high = min(rates, default=0.0), max(rates, default=0.0)

    assert low <= forecast.median(rates) <= high
    assert low - 1e-6 <= forecast.mean(rates) <= high + 1e-6


@given(st.lists(st.floats(0, 100), min_size=1, max_size=50), st.floats(1, 60))
def test_the_kept_series_begins_with_the_largest_value_of_its_window(
    found: list[float], window: float
) -> None:
    series: tuple[tuple[float, float], ...] = ()
    for i, value in enumerate(found):
        series = state.recent(series, value, now=float(i), window=window)

    now = len(found) - 1
    assert series[0][1] == max(value for i, value in enumerate(found) if i >= now - window)


def poisson(mean: float, draw: random.Random) -> float:
    count, left = 0, draw.expovariate(1.0)
    while left < mean:
        count += 1
        left += draw.expovariate(1.0)
    return float(count)


def level(rates: list[float]) -> float:
    return forecast.level(rates, variance=forecast.noise(rates), errors=2.0)


def test_the_level_of_a_steady_load_is_hardly_above_its_mean() -> None:
    draw = random.Random(5)
    rates = [poisson(100.0, draw) for _ in range(600)]
    levels = [level(rates[i - 60 : i]) for i in range(60, 600)]

    assert 98 <= sum(levels) / len(levels) <= 105
    assert max(levels) <= 120  # the largest single second is above 125


def test_a_step_is_believed_within_a_second_but_for_its_chance() -> None:
    rates = [*([100.0] * 59), 400.0]

    assert level(rates) >= 300


@given(RATES)
def test_a_level_is_no_less_than_the_mean_and_no_more_than_the_largest(rates: list[float]) -> None:
    assert forecast.mean(rates[-20:]) <= level(rates) <= max([*rates, 0.0]) + 1e-6


def test_a_ramp_is_seen_within_four_seconds_and_chance_is_none() -> None:
    draw = random.Random(5)
    steady = [poisson(200.0, draw) for _ in range(2000)]
    ramp = [*steady[:40], 300.0, 400.0, 500.0, 600.0]

    assert forecast.ramp(ramp, errors=4.0) == pytest.approx(100.0, rel=0.1)
    assert not any(forecast.ramp(steady[i - 60 : i], errors=4.0) for i in range(60, 2000))


def test_noise_is_the_variance_around_a_level_that_drifts() -> None:
    draw = random.Random(5)
    rates = [100.0 + 0.5 * i + draw.gauss(0.0, 10.0) for i in range(400)]

    assert forecast.noise(rates) == pytest.approx(100.0, rel=0.2)


def test_a_burst_that_is_over_is_no_noise() -> None:
    draw = random.Random(5)
    calm = [poisson(10.0, draw) for _ in range(60)]
    after = [*calm[:30], 150.0, 400.0, 390.0, 410.0, 160.0, *calm[35:]]

    assert forecast.noise(after) == pytest.approx(forecast.noise(calm), rel=0.5)


def test_capacity_keeps_work_from_waiting_longer_than_it_may() -> None:
    """Arrivals by chance, served evenly: the risk is the part of all moments with too much waiting."""
    draw, rate, patience, risk = random.Random(5), 200.0, 0.05, 0.05
    served = forecast.capacity(rate, variance=rate, patience=patience, risk=risk)
    backlog, late, steps, step = 0.0, 0, 200_000, 0.005
    for _ in range(steps):
        backlog = max(0.0, backlog + poisson(rate * step, draw) - served * step)
        late += backlog > served * patience

    assert risk / 2 <= late / steps <= 1.2 * risk


@given(st.floats(0.01, 1e4), st.floats(0, 1e6), st.floats(0.01, 10), st.floats(1e-6, 0.9))
def test_capacity_grows_with_chance_and_is_never_below_the_rate(
    rate: float, variance: float, patience: float, risk: float
) -> None:
    def asked(variance: float, risk: float) -> float:
        return forecast.capacity(rate, variance=variance, patience=patience, risk=risk)

    assert rate * (1 - 1e-9) <= asked(variance, risk) <= asked(variance + 1, risk / 2)
    assert math.isfinite(asked(variance, risk))
