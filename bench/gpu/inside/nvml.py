"""What NVML says about processes, and how often it has something new to say."""

# ruff: noqa: ANN401 -- nvidia-ml-py has no types

import itertools
import time
from typing import Any

from gpu.inside.driver import Driver


def handle(driver: Driver) -> Any:
    """The device's NVML handle; ImportError without nvidia-ml-py."""
    import pynvml  # type: ignore[import-untyped]  # ships no types

    pynvml.nvmlInit()
    return pynvml.nvmlDeviceGetHandleByUUID(driver.uuid(driver.device))


def facts(driver: Driver) -> dict[str, Any]:
    """Versions, and who else uses the device."""
    import pynvml

    device = handle(driver)
    computing = pynvml.nvmlDeviceGetComputeRunningProcesses(device)
    return {
        "driver": pynvml.nvmlSystemGetDriverVersion(),
        "nvml": pynvml.nvmlSystemGetNVMLVersion(),
        "processes": [process.pid for process in computing],
        "memory_used": pynvml.nvmlDeviceGetMemoryInfo(device).used,
    }


def sampling(driver: Driver, *, seconds: float) -> dict[str, Any]:
    """Polls process utilisation: period between new samples in ms, and their smUtil."""
    import pynvml

    device, seen, latencies = handle(driver), {}, []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        before = time.perf_counter_ns()
        for sample in _samples(pynvml, device):
            seen[(sample.pid, sample.timeStamp)] = sample.smUtil
        latencies.append(time.perf_counter_ns() - before)
        time.sleep(0.005)
    stamps = sorted({stamp for _, stamp in seen})
    periods = [(after - before) / 1000 for before, after in itertools.pairwise(stamps)]
    return {
        "query_ms": sorted(latencies)[len(latencies) // 2] / 1e6,
        "periods_ms": sorted(periods),
        "sm_util": [seen[key] for key in sorted(seen, key=lambda key: key[1])],
        "accounting_mode": _answer(pynvml, "nvmlDeviceGetAccountingMode", device),
    }


def _samples(pynvml: Any, device: Any) -> list[Any]:
    try:
        return list(pynvml.nvmlDeviceGetProcessUtilization(device, 0))
    except pynvml.NVMLError:
        return []  # NOT_FOUND: nothing since then


def _answer(pynvml: Any, name: str, *arguments: Any) -> Any:
    try:
        return getattr(pynvml, name)(*arguments)
    except pynvml.NVMLError as error:
        return str(error)
