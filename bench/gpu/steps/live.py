"""Changes of running slices: how long until they are in force."""

import statistics
import time
from typing import Any

from gpu.inside.runs import BIN_NS
from gpu.machine import Machine, Slice
from gpu.steps.compute import throughput

LOADS = ["kernel-20us", "kernel-1ms", "kernel-11ms"]
SHARES = [80, 20, 60]
GIB = 1 << 30


def measure(machine: Machine) -> dict[str, Any]:
    """Compute 80, 20, 60 per cent by load; memory down and up under an allocation loop."""
    return {
        "compute": {name: _compute(machine, name) for name in LOADS},
        "memory": _memory(machine),
    }


def _compute(machine: Machine, name: str) -> dict[str, Any]:
    """The series in steps of 50 ms, and for each change the time until it shows."""
    native = throughput(machine, None, name)["units_per_second"]
    slice_ = machine.slice(compute=SHARES[0])
    each = max(2.0, machine.seconds / len(SHARES))
    with machine.worker(slice_.environment, load=name) as process:
        process.ask("run", 1.0)
        process.send("run", each * len(SHARES))
        changes = _change(slice_, each)
        done = process.receive()
    series = [100 * count / (native * BIN_NS / 1e9) for count in done["bins"]]
    starts = [(at - done["started_ns"]) / 1e6 for at in changes]
    return {
        "percent_per_50ms": [round(percent, 1) for percent in series],
        "changed_at_ms": [round(at) for at in starts],
        "effect_after_ms": [
            _effect(series, at, before, after)
            for at, before, after in zip(starts, SHARES, SHARES[1:], strict=False)
        ],
    }


def _change(slice_: Slice, every: float) -> list[int]:
    """Writes the later shares at their times; CLOCK_MONOTONIC of each write."""
    written = []
    for share in SHARES[1:]:
        time.sleep(every)
        slice_.set(compute_percent=share)
        written.append(time.monotonic_ns())
    return written


def _effect(series: list[float], at_ms: float, before: int, after: int) -> float | None:
    """Milliseconds from the change until three steps in a row lie nearer the new share; None if never."""
    first = int(at_ms * 1e6 // BIN_NS)
    middle = (before + after) / 2
    for step in range(first, len(series) - 2):
        mean = statistics.mean(series[step : step + 3])
        if (mean < middle) == (after < before):
            return round(max(0.0, (step + 1) * BIN_NS / 1e6 - at_ms), 1)
    return None


def _memory(machine: Machine) -> dict[str, Any]:
    """Down below, and up again, while 64 MiB are allocated and freed without pause."""
    slice_ = machine.slice(memory=GIB)
    with machine.worker(slice_.environment) as process:
        process.send("attempts", 64 << 20, 3.0)
        time.sleep(1)
        slice_.set(memory_limit=1 << 20)
        down = time.monotonic_ns()
        time.sleep(1)
        slice_.set(memory_limit=GIB)
        up = time.monotonic_ns()
        changes = process.receive()
    return {
        "refused_after_ms": _first(changes, down, given=False),
        "given_after_ms": _first(changes, up, given=True),
    }


def _first(changes: list[list[Any]], written: int, *, given: bool) -> float | None:
    """From the write's return, so a change seen while it was written counts as 0."""
    slack = 10_000_000
    return next(
        (max(0, at - written) / 1e6 for at, answer in changes if answer is given and at > written - slack),
        None,
    )
