"""The figures of the scheduling benchmark are read right."""

import math

import pytest

from scheduling import metrics, report

TEXT = """\
# TYPE vgpu_placement_duration_seconds histogram
vgpu_placement_duration_seconds_bucket{le="0.001",verb="filter"} 50.0
vgpu_placement_duration_seconds_bucket{le="0.002",verb="filter"} 100.0
vgpu_placement_duration_seconds_bucket{le="+Inf",verb="filter"} 100.0
vgpu_placement_duration_seconds_bucket{le="0.001",verb="bind"} 1.0
"""


def test_a_quantile_lies_straight_within_its_bucket() -> None:
    buckets = metrics.buckets(TEXT, "filter")

    assert report.quantile(buckets, 0.5) == pytest.approx(0.001)
    assert report.quantile(buckets, 0.75) == pytest.approx(0.0015)


def test_what_lies_beyond_the_last_bound_is_told_as_that_bound() -> None:
    assert report.quantile([(0.1, 0.0), (math.inf, 10.0)], 0.99) == 0.1


def test_a_quantile_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="found none"):
        report.quantile([(math.inf, 0.0)], 0.5)


def test_the_table_tells_the_share_of_the_stock_scheduler() -> None:
    runs = [
        report.Run(name="stock", nodes=10, pods=100, seconds=1.0),
        report.Run(name="ours", nodes=10, pods=100, seconds=2.0, filter_p50_ms=1.0, filter_p99_ms=2.0),
    ]

    lines = report.table(runs).splitlines()

    assert lines[1].split()[-1] == "100%"
    assert lines[2].split()[-1] == "50%"
    assert "1.0 / 2.0" in lines[2]
