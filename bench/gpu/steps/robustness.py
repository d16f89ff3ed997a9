"""Deaths and many starts: whether headroom comes back, and what a start costs under the shim."""

import statistics
import time
from collections.abc import Mapping
from typing import Any

from gpu.machine import Machine, Worker

GIB = 1 << 30
HELD = 20 * GIB


def measure(machine: Machine) -> dict[str, Any]:
    """After SIGKILL, and over many short-lived processes."""
    return {"killed": _killed(machine), "starts": _starts(machine)}


def _killed(machine: Machine) -> dict[str, Any]:
    """A process that holds most of the slice is killed; how long until another one gets as much."""
    held = min(HELD, machine.memory // 2 // GIB * GIB)
    slice_ = machine.slice(memory=held + GIB)
    with machine.worker(slice_.environment) as survivor, machine.worker(slice_.environment) as victim:
        victim.ask("hold", held)
        victim.kill()
        return {"held": held, "headroom_back_ms": survivor.ask("first_success", held, 10.0)}


def _starts(machine: Machine) -> dict[str, Any]:
    """Native and shimmed by turns, from the fork to a context; milliseconds."""
    slice_ = machine.slice(memory=machine.memory)
    native, shimmed = [], []
    for _ in range(machine.starts // 2):
        native.append(_start(machine, machine.native))
        shimmed.append(_start(machine, slice_.environment))
    return {
        "native_ms": _summary(native),
        "shimmed_ms": _summary(shimmed),
        "added_median_ms": round(statistics.median(shimmed) - statistics.median(native), 3),
    }


def _start(machine: Machine, environment: Mapping[str, str]) -> float:
    before = time.monotonic_ns()
    with Worker(environment) as process:
        process.ask("start", 0)
        return (time.monotonic_ns() - before) / 1e6


def _summary(samples: list[float]) -> dict[str, float]:
    return {
        "count": len(samples),
        "median": round(statistics.median(samples), 3),
        "worst": round(max(samples), 3),
    }
