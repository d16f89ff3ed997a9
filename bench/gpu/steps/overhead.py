"""Overhead where nothing is limited: native and shimmed by turns, in two processes that both stay."""

import statistics
from typing import Any

from gpu.inside import loads
from gpu.machine import Machine, Worker, WorkerError

TURNS = 5
LOOPS = 5000
SIZES = [4 << 10, 2 << 20]


def measure(machine: Machine) -> dict[str, Any]:
    """Throughput ratio by load, and cost by call."""
    names = [*loads.DRIVER_LOADS, *(loads.TORCH_LOADS if machine.facts["torch"] else ())]
    return {"throughput": {name: _ratio(machine, name) for name in names}, "costs": _costs(machine)}


def _ratio(machine: Machine, name: str) -> dict[str, Any]:
    """Shimmed per cent of native: the median over the turns, and all of them."""
    try:
        with (
            machine.worker(load=name) as native,
            machine.worker(machine.slice(memory=machine.memory).environment, load=name) as shimmed,
        ):
            turns = [_turn(machine, native, shimmed) for _ in range(TURNS)]
    except WorkerError as error:
        return {"error": str(error)}
    return {"percent": statistics.median(turns), "turns": turns}


def _turn(machine: Machine, native: Worker, shimmed: Worker) -> float:
    seconds = machine.seconds / TURNS
    bare, ours = (process.ask("run", seconds)["units_per_second"] for process in (native, shimmed))
    return float(round(100 * ours / bare, 3))


def _costs(machine: Machine) -> dict[str, Any]:
    """Nanoseconds of each call, native and shimmed; the difference is the shim's."""
    with (
        machine.worker() as native,
        machine.worker(machine.slice(memory=machine.memory).environment) as shimmed,
    ):
        turns = [
            (native.ask("costs", LOOPS, SIZES), shimmed.ask("costs", LOOPS, SIZES)) for _ in range(TURNS)
        ]
    return {name: _difference([(bare[name], ours[name]) for bare, ours in turns]) for name in turns[0][0]}


def _difference(turns: list[tuple[dict[str, float], dict[str, float]]]) -> dict[str, float]:
    found: dict[str, float] = {}
    for figure in ("median_ns", "p99_ns"):
        bare, ours = (statistics.median(turn[side][figure] for turn in turns) for side in (0, 1))
        found |= {f"native_{figure}": bare, f"added_{figure}": ours - bare}
    return found
