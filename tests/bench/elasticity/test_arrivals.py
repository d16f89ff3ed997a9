"""One load becomes the requests of several services: same level for all, shifted, drawn from a seed."""

from pathlib import Path

import pytest

import small_model
from elasticity import arrivals

RATES = [10.0] * 100 + [30.0] * 100


def gpus(demand: arrivals.Demand) -> float:
    curve = demand.profile.curve
    rate = sum(demand.rates) / len(demand.rates)
    return rate / curve.efficient_rate * curve.efficient_percent / 100


def test_all_services_together_need_the_mean_in_equal_parts(tmp_path: Path) -> None:
    made = arrivals.demands(RATES, [small_model.profile(tmp_path, name) for name in "ab"], seed=1)

    assert sum(map(gpus, made)) == pytest.approx(arrivals.MEAN_GPUS)
    assert gpus(made[0]) == pytest.approx(gpus(made[1]))


def test_a_load_with_high_peaks_is_scaled_so_that_its_peaks_fit(tmp_path: Path) -> None:
    spiky = [1.0] * 180 + [100.0] * 20

    (made,) = arrivals.demands(spiky, [small_model.profile(tmp_path)], seed=1)

    assert gpus(made) == pytest.approx(arrivals.PEAK_GPUS * (sum(spiky) / 200) / 100)


def test_each_service_sees_the_load_at_another_phase(tmp_path: Path) -> None:
    first, second = arrivals.demands(RATES, [small_model.profile(tmp_path, name) for name in "ab"], seed=1)

    assert first.rates[:100] == pytest.approx(second.rates[100:])


def test_requests_follow_from_the_seed_alone(tmp_path: Path) -> None:
    profile = small_model.profile(tmp_path)
    (one,), (same,), (other,) = (arrivals.demands(RATES, [profile], seed=seed) for seed in (1, 1, 2))

    assert one.times == same.times
    assert one.times != other.times
    assert len(one.times) == pytest.approx(sum(one.rates), rel=0.1)
    assert list(one.times) == sorted(one.times)
