"""Memory: what a slice gets until it is refused, what it is shown, and what is left when it gave all back."""

from collections.abc import Mapping
from typing import Any

from gpu.machine import Machine, Worker, WorkerError

GIB = 1 << 30
LIMITS = [8 * GIB, 40 * GIB]
CHUNK = 512 << 20
WAYS = ["linear", "stream-ordered", "virtual"]
ALLOCATORS = {
    "default": "",
    "cudaMallocAsync": "backend:cudaMallocAsync",
    "expandable_segments": "expandable_segments:True",
}


def measure(machine: Machine) -> dict[str, Any]:
    """By limit and way of the driver's API."""
    found = {
        f"{limit // GIB}GiB": {way: _fill(machine, limit, way) for way in WAYS} for limit in _limits(machine)
    }
    if machine.rival is not None:
        found["rival 8GiB"] = {way: _fill_rival(machine, 8 * GIB, way) for way in WAYS}
    return found


def measure_torch(machine: Machine) -> dict[str, Any]:
    """By limit and PyTorch's allocator, until torch.OutOfMemoryError."""
    if not machine.facts["torch"]:
        return {"not_run": "PyTorch is not installed"}
    return {
        f"{limit // GIB}GiB": {
            **{name: _torch(machine, limit, setting) for name, setting in ALLOCATORS.items()},
            "graph capture": _torch(machine, limit, "", captured=True),
        }
        for limit in _limits(machine)
    }


def _limits(machine: Machine) -> list[int]:
    """Those that leave the device some room."""
    return [limit for limit in LIMITS if limit < machine.memory * 0.9]


def _fill(machine: Machine, limit: int, way: str) -> dict[str, Any]:
    slice_ = machine.slice(memory=limit)
    with machine.worker() as observer:
        before = _free(observer)
        with machine.worker(slice_.environment) as process:
            with_context = _free(observer)
            found = process.ask("fill", way, CHUNK)
            left = with_context - _free(observer)
        return _judged(found, limit) | {
            "context_bytes": before - with_context,
            "left_bytes": left,
            "accounted_after": slice_.used(),
        }


def _free(observer: Worker) -> int:
    return int(observer.ask("views")["cuMemGetInfo"][0])


def _fill_rival(machine: Machine, limit: int, way: str) -> dict[str, Any]:
    try:
        with machine.worker(machine.rival_environment(memory=limit, compute=100)) as process:
            return _judged(process.ask("fill", way, CHUNK), limit)
    except WorkerError as error:
        return {"error": str(error)}


def _judged(found: dict[str, Any], limit: int) -> dict[str, Any]:
    """With what it means: over the limit, short of it, and whether all views agree to the byte."""
    seen = found["seen"]
    totals = {seen["cuMemGetInfo"][1], seen["cuDeviceTotalMem"]}
    frees = {seen["cuMemGetInfo"][0]}
    if seen["nvml"] is not None:
        totals.add(seen["nvml"][1])
        frees.add(seen["nvml"][0])
    return found | {
        "over_bytes": max(0, found["held"] - limit),
        "short_bytes": max(0, limit - found["held"]),
        "views_agree": len(totals) == len(frees) == 1,
    }


def _torch(machine: Machine, limit: int, setting: str, *, captured: bool = False) -> dict[str, Any]:
    environment: Mapping[str, str] = machine.slice(memory=limit).environment
    if setting:
        environment = {**environment, "PYTORCH_CUDA_ALLOC_CONF": setting}
    try:
        with machine.worker(environment) as process:
            found = dict(process.ask("torch_fill", CHUNK, captured))
    except WorkerError as error:
        return {"error": str(error)}
    return found | {
        "over_bytes": max(0, found["held"] - limit),
        "short_bytes": max(0, limit - found["held"]),
        "totals_equal": found["mem_get_info"][1] == found["total_memory"] == limit,
    }
