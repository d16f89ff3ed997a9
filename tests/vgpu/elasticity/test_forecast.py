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
