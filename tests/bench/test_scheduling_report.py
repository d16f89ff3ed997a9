"""The figures of the scheduling benchmark are read right."""

import math
import os

import pytest

from scheduling import costs, metrics, report

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


def test_everything_that_was_measured_is_told_with_the_load_of_the_machine() -> None:
    found = report.Report(
        runs=[
            report.Run(
                name="ours",
                nodes=1,
                pods=10,
                seconds=2.0,
                cpu_seconds={"kube-apiserver": 0.25, "vgpu-operator": 0.02},
                our_memory_mib=64,
            )
        ],
        verdict=report.Verdict(seconds=0.4, message="1 node: not in the pool"),
        rebuild=report.Rebuild(
            slices=8, ready_seconds=1.2, answer_seconds=3.4, cpu_seconds=0.9, memory_mib=99.6
        ),
        load={"extended": 1.5},
    )

    told = "\n".join(report.lines(found))

    assert "CPU ms per pod, ours: 27.0: kube-apiserver 25.0, vgpu-operator 2.0" in told
    assert "our processes: 64 MiB" in told
    assert "does not fit: 0.40 s until its claim says: 1 node: not in the pool" in told
    assert "killed with 8 slices: ready after 1.2 s, first pod placed after 3.4 s" in told
    assert told.endswith("load of the machine before: extended 1.5")


def test_a_run_without_a_single_observation_has_no_latency() -> None:
    assert report.milliseconds([], 0.5) is None
    assert report.milliseconds([(1.0, 0.0), (math.inf, 0.0)], 0.5) is None


def test_the_cost_of_a_process_is_read_from_the_kernel() -> None:
    before = costs.of(os.getpid())
    sum(range(3_000_000))
    after = costs.of(os.getpid())

    assert after.cpu_seconds > before.cpu_seconds
    assert after.memory_mib > 1
