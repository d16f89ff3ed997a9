import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vgpu.elasticity import work

CURVE = work.curve([(30, 300.0), (10, 50.0), (50, 290.0)], floor_percent=5)


def test_a_curve_levels_rates_that_fall_and_finds_the_efficient_size() -> None:
    assert CURVE.rates == (50.0, 300.0, 300.0)
    assert CURVE.efficient_percent == 30
    assert CURVE.efficient_rate == 300.0


def test_below_the_first_point_a_curve_is_proportional_and_above_the_last_level() -> None:
    assert CURVE.rate_at(5) == 25.0
    assert CURVE.rate_at(100) == 300.0


@given(st.floats(0, 300))
def test_the_share_for_a_rate_serves_it(rate: float) -> None:
    assert CURVE.rate_at(CURVE.share_for(rate)) == pytest.approx(rate)


@pytest.mark.parametrize(
    ("shares", "rates"),
    [((), ()), ((10,), (1.0, 2.0)), ((20, 10), (1.0, 2.0)), ((10, 20), (2.0, 1.0)), ((0,), (1.0,))],
)
def test_a_curve_that_cannot_be_is_refused(shares: tuple[int, ...], rates: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="expected"):
        work.Curve(shares, rates, 10)


def test_a_linear_curve_costs_the_same_per_unit_everywhere() -> None:
    assert work.linear(2.0, largest_percent=100).share_for(20.0) == 40.0


def test_use_is_de_censored_by_throttling() -> None:
    assert work.demand(30.0, 0.5) == 60.0


def test_the_cost_of_work_is_learned_from_use_and_rate() -> None:
    cost = work.Cost().after(used_percent=50.0, rate=100.0, lent=False)

    assert cost.percent_per_unit == 0.5
    dearer = cost.after(used_percent=60.0, rate=100.0, lent=False).percent_per_unit
    assert dearer is not None
    assert 0.5 < dearer < 0.6


def test_lent_compute_teaches_only_while_nothing_else_has() -> None:
    lent = work.Cost().after(used_percent=90.0, rate=100.0, lent=True)

    assert lent.percent_per_unit == 0.9
    assert lent.after(used_percent=50.0, rate=100.0, lent=False).percent_per_unit == 0.5


@pytest.mark.parametrize(("used", "rate"), [(0.0, 10.0), (10.0, 0.0), (math.nan, 1.0), (1.0, math.nan)])
def test_a_second_without_work_or_use_teaches_nothing(used: float, rate: float) -> None:
    assert work.Cost().after(used_percent=used, rate=rate, lent=False).percent_per_unit is None
