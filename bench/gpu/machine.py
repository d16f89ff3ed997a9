"""The machine under measurement: its driver, and processes on it with and without the shim."""

# ruff: noqa: ANN401 -- what travels as JSON

import contextlib
import dataclasses
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from vgpu_shim.limits import UNLIMITED, DeviceLimits, LimitsPage
from vgpu_shim.usage import UsagePage

ROOT = Path(__file__).resolve().parents[2]
BENCH = ROOT / "bench"


class WorkerError(Exception):
    """What a measured process could not do, in its own words."""


class Worker:
    """A measured process (gpu.inside); a context manager that ends it."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "gpu.inside"],
            env={**environment, "PYTHONPATH": str(BENCH)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def send(self, command: str, *arguments: Any) -> None:
        """Starts a command; receive() has its answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([command, *arguments]) + "\n")
        self._process.stdin.flush()

    def receive(self) -> Any:
        """The answer of the command sent; WorkerError where it failed."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise WorkerError(f"the process ended with {self._process.wait()}")
        reply = json.loads(line)
        if "error" in reply:
            raise WorkerError(reply["error"])
        return reply["answer"]

    def ask(self, command: str, *arguments: Any) -> Any:
        """Does a command and waits for its answer."""
        self.send(command, *arguments)
        return self.receive()

    def kill(self) -> None:
        """SIGKILL; returns when the process is gone. Twice is once."""
        self._process.kill()
        self._process.communicate()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """A directory with limits and accounts, and the environment that puts a process under them."""

    directory: Path
    environment: Mapping[str, str]

    @property
    def usage_path(self) -> Path:
        """The usage page."""
        return self.directory / "usage" / "accounts"

    def set(self, **changes: int) -> None:
        """Changes limits of running processes; memory in bytes, compute in per cent."""
        with LimitsPage(self.directory / "limits", writable=True) as page:
            page.update(0, **changes)

    def gpu_ns(self) -> int:
        """GPU time that the shim has counted."""
        with UsagePage(self.usage_path) as page:
            return page.read(0).counters.gpu_ns

    def used(self) -> int:
        """Bytes that the slice's processes hold."""
        with UsagePage(self.usage_path) as page:
            return page.used(0)


@dataclasses.dataclass(slots=True, kw_only=True)
class Machine:
    """One GPU of this machine, the only one that its processes see; `seconds` is for each throughput."""

    facts: dict[str, Any]
    native: Mapping[str, str]
    library: Path
    scratch: Path
    seconds: float
    starts: int = 200
    rival: Path | None = None
    _numbers: Iterator[int] = dataclasses.field(default_factory=itertools.count)

    @property
    def uuid(self) -> str:
        """The GPU that is measured."""
        return str(self.facts["uuids"][0])

    @property
    def memory(self) -> int:
        """Bytes of the GPU."""
        return int(self.facts["memory"])

    def slice(self, *, memory: int = UNLIMITED, compute: int = 100) -> Slice:
        """A new slice; memory in bytes, compute in per cent."""
        directory = self.scratch / f"slice-{next(self._numbers)}"
        (directory / "usage").mkdir(parents=True)
        line = DeviceLimits(uuid=self.uuid, memory_limit=memory, compute_percent=compute)
        LimitsPage.create(directory / "limits", [line], slice_id=directory.name).close()
        made = Slice(
            directory=directory,
            environment={**self.native, "LD_PRELOAD": str(self.library), "VGPU_DIR": str(directory)},
        )
        UsagePage.create(made.usage_path, device_count=1).close()
        return made

    def rival_environment(self, *, memory: int | None, compute: int) -> dict[str, str]:
        """What HAMi-core is told, where its library was given."""
        directory = self.scratch / f"rival-{next(self._numbers)}"
        directory.mkdir()
        limits = {"CUDA_DEVICE_SM_LIMIT": str(compute), "GPU_CORE_UTILIZATION_POLICY": "force"}
        if memory is not None:
            limits["CUDA_DEVICE_MEMORY_LIMIT"] = f"{memory >> 20}m"
        cache = {"CUDA_DEVICE_MEMORY_SHARED_CACHE": str(directory / "cache"), "LIBCUDA_LOG_LEVEL": "0"}
        return {**self.native, **limits, **cache, "LD_PRELOAD": str(self.rival)}

    @contextlib.contextmanager
    def worker(
        self, environment: Mapping[str, str] | None = None, *, load: str | None = None
    ) -> Iterator[Worker]:
        """A process with a context on the GPU: without an environment the bare driver's."""
        with Worker(self.native if environment is None else environment) as process:
            process.ask("start", 0)
            if load is not None:
                process.ask("prepare", load, self.facts["rounds_per_ns"])
            yield process


def plain_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without anything that would put a process under a shim."""
    ours = ("VGPU_", "CUDA_DEVICE_SM_LIMIT", "CUDA_DEVICE_MEMORY_LIMIT")
    return {
        name: value
        for name, value in environment.items()
        if name != "LD_PRELOAD" and (not name.startswith(ours) or name.startswith("VGPU_SIM"))
    }


def identify(environment: Mapping[str, str]) -> dict[str, Any]:
    """What a process finds that looks for GPUs: `devices` is 0 where there are none, and `why` says more."""
    with Worker(environment) as process:
        try:
            return dict(process.ask("identify"))
        except WorkerError as error:
            return {"devices": 0, "simulated": False, "why": str(error)}


def describe(environment: Mapping[str, str]) -> dict[str, Any]:
    """Memory, multiprocessors, speed and NVML's facts of the device, or NVML's refusal."""
    with Worker(environment) as process:
        context_ms = process.ask("start", 0)
        memory = process.ask("views")
        found = {
            "context_ms": context_ms,
            "memory": memory["cuDeviceTotalMem"],
            "multiprocessors": process.ask("multiprocessors"),
            "rounds_per_ns": process.ask("calibrate"),
        }
        try:
            return found | {"nvml": process.ask("nvml_facts")}
        except WorkerError as error:
            return found | {"nvml": {"error": str(error)}}


def own_environment() -> dict[str, str]:
    """This process's environment, made plain."""
    return plain_environment(os.environ)
