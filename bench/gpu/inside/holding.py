"""Fills memory in each of the driver's ways until it says no, and shows what everybody reports."""

import ctypes
import itertools
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

from gpu.inside.driver import OUT_OF_MEMORY, Driver, DriverError

MIB = 1 << 20
SMALLEST = 2 * MIB
PINNED, ON_DEVICE = 1, 1


class AllocationProperties(ctypes.Structure):
    """CUmemAllocationProp of plain device memory."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("handle_types", ctypes.c_int),
        ("location_type", ctypes.c_int),
        ("location_id", ctypes.c_int),
        ("metadata", ctypes.c_void_p),
        ("flags", ctypes.c_uint8 * 8),
    )


Fill = Callable[[int], Callable[[], None]]
"""Allocates so many bytes and gives back how to free them."""


def _linear(driver: Driver, size: int) -> Callable[[], None]:
    address = driver.allocate(size)
    return lambda: driver.free(address)


def _stream_ordered(driver: Driver, size: int) -> Callable[[], None]:
    address = ctypes.c_uint64()
    driver.call("cuMemAllocAsync", ctypes.byref(address), ctypes.c_size_t(size), None)
    return lambda: driver.call("cuMemFreeAsync", address, None)


def _virtual(driver: Driver, size: int) -> Callable[[], None]:
    handle = ctypes.c_uint64()
    properties = AllocationProperties(type=PINNED, location_type=ON_DEVICE, location_id=driver.device)
    driver.call(
        "cuMemCreate",
        ctypes.byref(handle),
        ctypes.c_size_t(size),
        ctypes.byref(properties),
        ctypes.c_uint64(0),
    )
    return lambda: driver.call("cuMemRelease", handle)


WAYS = {"linear": _linear, "stream-ordered": _stream_ordered, "virtual": _virtual}


def fill(driver: Driver, way: str, chunk: int) -> dict[str, Any]:
    """Takes ever smaller chunks until 2 MiB are refused, reports, and gives everything back. Bytes."""
    frees: list[Callable[[], None]] = []
    held, codes = 0, set()
    while chunk >= SMALLEST:
        try:
            frees.append(WAYS[way](driver, chunk))
            held += chunk
        except DriverError as refused:
            codes.add(refused.code)
            chunk //= 2
    driver.synchronise()
    seen = views(driver)
    for free in frees:
        free()
    driver.synchronise()
    return {"held": held, "codes": sorted(codes), "seen": seen, "seen_after": views(driver)}


def views(driver: Driver) -> dict[str, Any]:
    """Memory of this device as CUDA, NVML and nvidia-smi show it; bytes, None where one is missing."""
    free, total = driver.memory()
    return {
        "cuMemGetInfo": [free, total],
        "cuDeviceTotalMem": driver.total_memory(driver.device),
        "nvml": nvml_memory(driver),
        "nvidia_smi_total_mib": _nvidia_smi_total(driver),
    }


def nvml_memory(driver: Driver) -> list[int] | None:
    """Free and total of the device, by UUID."""
    try:
        import pynvml  # type: ignore[import-untyped]  # ships no types
    except ImportError:
        return None
    pynvml.nvmlInit()
    memory = pynvml.nvmlDeviceGetMemoryInfo(pynvml.nvmlDeviceGetHandleByUUID(driver.uuid(driver.device)))
    return [memory.free, memory.total]


def _nvidia_smi_total(driver: Driver) -> int | None:
    query = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    command = [*query, f"--id={driver.uuid(driver.device)}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
        return int(done.stdout)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def granularity(driver: Driver, *, allocations: int) -> dict[str, int | None]:
    """How physical memory shrinks under allocations of one byte: bytes a step, allocations a step."""
    free_before = driver.memory()[0]
    steps, addresses = [], []
    for number in range(allocations):
        addresses.append(driver.allocate(1))
        free = driver.memory()[0]
        if free != free_before:
            steps.append((number, free_before - free))
            free_before = free
    for address in addresses:
        driver.free(address)
    between = [after[0] - before[0] for before, after in itertools.pairwise(steps)]
    return {
        "step_bytes": steps[-1][1] if steps else 0,
        "allocations_per_step": min(between, default=None),
        "allocations": allocations,
    }


def attempts(driver: Driver, *, size: int, seconds: float) -> list[list[Any]]:
    """Allocates and frees `size` again and again; [CLOCK_MONOTONIC ns, it was given] at each change."""
    changes: list[list[Any]] = []
    end = time.monotonic_ns() + round(seconds * 1e9)
    for given in _answers(driver, size):
        now = time.monotonic_ns()
        if not changes or changes[-1][1] != given:
            changes.append([now, given])
        if now > end:
            break
    return changes


def _answers(driver: Driver, size: int) -> Iterator[bool]:
    while True:
        try:
            driver.free(driver.allocate(size))
            yield True
        except DriverError as refused:
            if refused.code != OUT_OF_MEMORY:
                raise
            yield False


def first_success(driver: Driver, *, size: int, seconds: float) -> float | None:
    """Milliseconds until `size` is given; None when the time is up first."""
    started = time.monotonic_ns()
    for given in _answers(driver, size):
        elapsed = time.monotonic_ns() - started
        if given:
            return elapsed / 1e6
        if elapsed > seconds * 1e9:
            return None
        time.sleep(0.001)
    return None
