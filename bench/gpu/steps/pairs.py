"""Two slices on one GPU, and two processes in one slice; with and without the correction for time slicing."""

import time
from typing import Any

from gpu.machine import Machine, Slice, Worker
from gpu.steps.compute import throughput
from vgpu_shim import usage

LOADS = ["kernel-20us", "kernel-1ms", "kernel-11ms"]
PAIRS = [(30, 70), (50, 50), (20, 20)]
CORRECT_EVERY_SECONDS = 0.25


def measure(machine: Machine) -> dict[str, Any]:
    """By load: per cent of the native throughput of one process alone."""
    return {name: _load(machine, name) for name in LOADS}


def _load(machine: Machine, name: str) -> dict[str, Any]:
    native = throughput(machine, None, name)["units_per_second"]
    found: dict[str, Any] = {"native_pair": _native_pair(machine, name, native)}
    for shares in PAIRS:
        for corrected in (False, True):
            how = "corrected" if corrected else "uncorrected"
            found[f"{shares[0]}/{shares[1]} {how}"] = _pair(
                machine, name, native, shares, corrected=corrected
            )
    return found | {
        "50/idle": _beside_an_idle_one(machine, name, native),
        "two processes in 50": _shared(machine, name, native),
    }


def _native_pair(machine: Machine, name: str, native: float) -> dict[str, Any]:
    with machine.worker(load=name) as one, machine.worker(load=name) as other:
        return _split(_together(machine, [one, other], []), native)


def _pair(
    machine: Machine, name: str, native: float, shares: tuple[int, int], *, corrected: bool
) -> dict[str, Any]:
    slices = [machine.slice(compute=share) for share in shares]
    with (
        machine.worker(slices[0].environment, load=name) as one,
        machine.worker(slices[1].environment, load=name) as other,
    ):
        return _split(_together(machine, [one, other], slices if corrected else []), native)


def _beside_an_idle_one(machine: Machine, name: str, native: float) -> dict[str, Any]:
    slices = [machine.slice(compute=50) for _ in range(2)]
    with (
        machine.worker(slices[0].environment, load=name) as busy,
        machine.worker(slices[1].environment, load=name),
    ):
        return _split(_together(machine, [busy], slices), native)


def _shared(machine: Machine, name: str, native: float) -> dict[str, Any]:
    slice_ = machine.slice(compute=50)
    with (
        machine.worker(slice_.environment, load=name) as one,
        machine.worker(slice_.environment, load=name) as other,
    ):
        return _split(_together(machine, [one, other], []), native)


def _together(machine: Machine, workers: list[Worker], corrected: list[Slice]) -> list[float]:
    """Units a second of each, all at once, the first 5 s (at most half the time) not counted."""
    settle = min(5.0, machine.seconds / 2)
    rates: list[float] = []
    for seconds in (settle, machine.seconds):
        for worker in workers:
            worker.send("run", seconds)
        _correct(corrected, until=time.monotonic() + seconds)
        rates = [worker.receive()["units_per_second"] for worker in workers]
    return rates


def _correct(slices: list[Slice], *, until: float) -> None:
    """Tells each slice how much of its measured time was its own, as the node's agent does."""
    if not slices:
        return
    pages = [(usage.UsagePage(each.usage_path), 0) for each in slices]
    window = round(2 * CORRECT_EVERY_SECONDS * 1e9)
    while time.monotonic() < until:
        time.sleep(CORRECT_EVERY_SECONDS)
        now = usage.clock_ns()
        for each, share in zip(
            slices, usage.busy_shares(pages, since_ns=now - window, until_ns=now), strict=True
        ):
            each.set(busy_permille=share.permille)
    for page, _ in pages:
        page.close()


def _split(rates: list[float], native: float) -> dict[str, Any]:
    percents = [round(100 * rate / native, 2) for rate in rates]
    return {"percent": percents, "sum": round(sum(percents), 2)}
