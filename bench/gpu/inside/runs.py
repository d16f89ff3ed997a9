"""Runs a load against the clock, and calls a function against the clock."""

import collections
import ctypes
import itertools
import statistics
import time
from collections.abc import Callable
from typing import Any

from gpu.inside import kernels
from gpu.inside.driver import Driver, Handle
from gpu.inside.loads import Load

BIN_NS = 50_000_000


def run(driver: Driver, load: Load, seconds: float) -> dict[str, Any]:
    """Units done in so many seconds; `bins` counts them in steps of 50 ms of CLOCK_MONOTONIC."""
    under_way: collections.deque[list[Handle]] = collections.deque()
    done: list[int] = []
    driver.synchronise()
    started = time.monotonic_ns()
    end = started + round(seconds * 1e9)
    while time.monotonic_ns() < end:
        load.launch()
        under_way.append([driver.record(stream) for stream in load.streams])
        if len(under_way) >= load.depth:
            _finish(driver, under_way.popleft())
            done.append(time.monotonic_ns())
    while under_way:
        _finish(driver, under_way.popleft())
    return _summary([at for at in done if at < end], started, end)


def _finish(driver: Driver, events: list[Handle]) -> None:
    for event in events:
        driver.wait(event)


def _summary(done: list[int], started: int, end: int) -> dict[str, Any]:
    bins = [0] * -(-(end - started) // BIN_NS)
    for at in done:
        bins[(at - started) // BIN_NS] += 1
    edges = [started, *done, end]
    longest = max(after - before for before, after in itertools.pairwise(edges))
    return {
        "units_per_second": len(done) / ((end - started) / 1e9),
        "longest_stall_ms": longest / 1e6,
        "started_ns": started,
        "bins": bins,
    }


def cost(
    call: Callable[[], object], *, loops: int, between: Callable[[], object] | None = None
) -> dict[str, Any]:
    """Nanoseconds of one call, with what ctypes adds; `between` runs unmeasured after every 64 calls."""
    samples = []
    for number in range(loops):
        before = time.perf_counter_ns()
        call()
        samples.append(time.perf_counter_ns() - before)
        if between is not None and number % 64 == 63:
            between()
    samples.sort()
    return {
        "median_ns": statistics.median(samples),
        "p99_ns": samples[len(samples) * 99 // 100],
        "loops": loops,
    }


def costs(driver: Driver, *, loops: int, sizes: list[int]) -> dict[str, Any]:
    """What driver calls cost; `floor` is the cheapest call there is, so mostly ctypes itself."""
    library, count, found = driver.library, ctypes.c_int(), ctypes.c_void_p()
    launch = kernels.Spin(driver, {}).shortest()
    event = driver.record(Handle(None))
    driver.synchronise()
    measured = {
        "floor": cost(lambda: library.cuDeviceGetCount(ctypes.byref(count)), loops=loops),
        "cuMemGetInfo": cost(driver.memory, loops=loops),
        "cuLaunchKernel": cost(launch, loops=loops, between=driver.synchronise),
        "cuEventRecord": cost(
            lambda: library.cuEventRecord(event, None), loops=loops, between=driver.synchronise
        ),
        "cuEventQuery": cost(lambda: library.cuEventQuery(event), loops=loops),
        "cuGetProcAddress": cost(
            lambda: library.cuGetProcAddress_v2(
                b"cuMemAlloc", ctypes.byref(found), 12000, ctypes.c_uint64(0), None
            ),
            loops=loops,
        ),
    }
    for size in sizes:
        pairs = cost(lambda size=size: driver.free(driver.allocate(size)), loops=max(20, loops // 10))  # type: ignore[misc]  # mypy cannot infer a lambda with a default
        measured[f"cuMemAlloc+cuMemFree {size}"] = pairs
    return measured
