"""Compute: throughput of one slice relative to the bare driver, load by load and share by share."""

from collections.abc import Iterable, Mapping
from typing import Any

from gpu.inside import loads
from gpu.machine import Machine, WorkerError

SHARES = [25, 50, 75, 90]


def measure(machine: Machine) -> dict[str, Any]:
    """The driver API's loads."""
    return _measure(machine, loads.DRIVER_LOADS)


def measure_torch(machine: Machine) -> dict[str, Any]:
    """PyTorch's loads."""
    if not machine.facts["torch"]:
        return {"not_run": "PyTorch is not installed"}
    return _measure(machine, loads.TORCH_LOADS)


def _measure(machine: Machine, names: Iterable[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in names:
        try:
            found[name] = _load(machine, name)
        except WorkerError as error:
            found[name] = {"error": str(error)}
    return found


def _load(machine: Machine, name: str) -> dict[str, Any]:
    """Native first, then one slice whose share is changed between the runs."""
    native = throughput(machine, None, name)
    found = {"native": native, "shares": _shares(machine, name, native["units_per_second"])}
    if machine.rival is not None:
        found["rival"] = _rival(machine, name, native["units_per_second"])
    return found


def _shares(machine: Machine, name: str, native: float) -> dict[str, Any]:
    slice_ = machine.slice()
    found = {}
    with machine.worker(slice_.environment, load=name) as process:
        for share in SHARES:
            slice_.set(compute_percent=share)
            process.ask("run", 1.0)  # until the change has settled
            before = slice_.gpu_ns()
            judgement = judged(process.ask("run", machine.seconds), native, share)
            accounted = 100 * (slice_.gpu_ns() - before) / (machine.seconds * 1e9)
            found[str(share)] = judgement | {"accounted_percent": round(accounted, 2)}
    return found


def _rival(machine: Machine, name: str, native: float) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for share in SHARES:
        try:
            done = throughput(machine, machine.rival_environment(memory=None, compute=share), name)
        except WorkerError as error:
            found[str(share)] = {"error": str(error)}
        else:
            found[str(share)] = judged(done, native, share)
    return found


def throughput(machine: Machine, environment: Mapping[str, str] | None, name: str) -> dict[str, Any]:
    """Units a second in a process of its own, after a second to warm up."""
    with machine.worker(environment, load=name) as process:
        process.ask("run", 1.0)
        found = process.ask("run", machine.seconds)
    return {key: found[key] for key in ("units_per_second", "longest_stall_ms")}


def judged(done: dict[str, Any], native: float, share: int) -> dict[str, float]:
    """Per cent of native throughput, and how many points that is off the share.

    Where the native run leaves the GPU idle between two units, a share of time is more than
    the same share of throughput: accounted_percent, the shim's own measure, tells the two apart.
    """
    percent = 100 * done["units_per_second"] / native
    return {
        "percent": round(percent, 2),
        "error_points": round(percent - share, 2),
        "longest_stall_ms": round(done["longest_stall_ms"], 2),
    }
