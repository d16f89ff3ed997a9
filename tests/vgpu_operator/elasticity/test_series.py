"""An answer is one fresh finite number, or a sentence about what is wrong with it."""

import math

import pytest

from vgpu_operator.elasticity import series
from vgpu_operator.elasticity.series import Series, Trouble

GOOD = Series({}, ((100.0, 1.0), (101.0, 2.0)))


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ((), "the query returns nothing"),
        ((GOOD, GOOD), "the query returns 2 series, one is expected: aggregate them"),
        ((Series({}, ((101.0, math.nan),)),), "the query returns no finite number"),
        ((Series({}, ((101.0, math.inf),)),), "the query returns no finite number"),
        ((Series({}, ((101.0 - 604_800, 5.0),)),), "the newest value is 604800 s old"),
        (Trouble("Prometheus cannot be reached"), "Prometheus cannot be reached"),
    ],
)
def test_what_is_no_number_to_go_by_says_why(answer: tuple[Series, ...] | Trouble, reason: str) -> None:
    assert series.only(answer, now=101.0, stale_seconds=15.0) == Trouble(reason)


def test_points_that_are_no_number_are_left_out() -> None:
    holed = Series({}, ((100.0, 1.0), (101.0, math.nan)))

    found = series.only((holed,), now=101.0, stale_seconds=15.0)

    assert isinstance(found, Series)
    assert found.points == ((100.0, 1.0),)


def test_json_of_prometheus_becomes_series() -> None:
    result = [{"metric": {"a": "b"}, "values": [[1, "2.5"], [2, "NaN"]]}]

    (found,) = series.parsed(result)

    assert found.labels == {"a": "b"}
    assert found.points[0] == (1.0, 2.5)
    assert math.isnan(found.points[1][1])


@pytest.mark.parametrize(
    "result", ["text", {}, [1], [{"metric": {}}], [{"metric": {}, "values": [["x", "y"]]}]]
)
def test_json_of_anything_else_is_refused(result: object) -> None:
    with pytest.raises(ValueError):
        series.parsed(result)
