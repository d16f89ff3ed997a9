"""The built library, slices made of real pages, and processes that live in them under the shim."""

import contextlib
import dataclasses
import itertools
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from typing import Any, Self

import pytest

from vgpu_shim.limits import DeviceLimits, LimitsPage
from vgpu_shim.usage import UsagePage

ROOT = pathlib.Path(__file__).parents[2]
BUILT = ROOT / "build" / "shim"
TENANT = pathlib.Path(__file__).with_name("tenant.py")
MIB, GIB = 1 << 20, 1 << 30
MACHINE = """\
devices 2
memory 80G
device 0 uuid GPU-00000000-0000-4000-8000-000000000000
device 1 uuid GPU-00000000-0000-4000-8000-000000000001
"""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    shim: pathlib.Path
    driver: pathlib.Path


@pytest.fixture(scope="session", autouse=True)
def built() -> Built:
    if shutil.which("make") is None or shutil.which("cc") is None:
        pytest.skip("shim and simulated driver are built from C: expected make and cc on the PATH")
    BUILT.mkdir(parents=True, exist_ok=True)
    build = ["flock", str(BUILT / "lock"), "make", "-s", "-C", str(ROOT / "shim"), "lib", "sim"]
    subprocess.run(build, check=True, timeout=300)  # workers start together: one builds, the others wait
    return Built(shim=BUILT / "libvgpu.so", driver=BUILT / "sim")


class Tenant:
    """A process of a slice, under the shim; a context manager that ends it."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(TENANT)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid = self._process.pid

    def call(self, name: str, *arguments: int) -> Any:
        self.send(name, *arguments)
        return self.receive()

    def send(self, name: str, *arguments: int) -> None:
        """Starts a call; receive() has its answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([name, *arguments]) + "\n")
        self._process.stdin.flush()

    def receive(self) -> Any:
        assert self._process.stdout is not None
        answer = self._process.stdout.readline()
        assert answer, f"the process ended with {self._process.wait(10)}"
        return json.loads(answer)

    def kill(self) -> None:
        """SIGKILL; returns when the process is gone."""
        self._process.kill()
        self._process.communicate()

    def die(self) -> None:
        """SIGKILL; returns when the process is dead and has yet to be waited for."""
        self._process.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """A slice on the first devices of a simulated machine."""

    directory: pathlib.Path
    environment: dict[str, str]

    @property
    def limits_path(self) -> pathlib.Path:
        return self.directory / "limits"

    @property
    def usage_path(self) -> pathlib.Path:
        return self.directory / "usage" / "accounts"

    def set(self, **changes: int) -> None:
        with LimitsPage(self.limits_path, writable=True) as page:
            page.update(0, **changes)

    @contextlib.contextmanager
    def tenant(self, *, device: int = 0) -> Iterator[Tenant]:
        """A process with a context on the device."""
        with Tenant(self.environment) as process:
            assert process.call("start", device) == [0, 0]
            yield process


@pytest.fixture
def machine(built: Built, tmp_path: pathlib.Path) -> dict[str, str]:
    """The environment of a process that sees the simulated machine through the shim."""
    if pathlib.Path("/run/vgpu").exists():
        pytest.skip("/run/vgpu exists: the shim looks nowhere else")
    config = tmp_path / "machine"
    config.write_text(MACHINE)
    return {name: value for name, value in os.environ.items() if not name.startswith("VGPU_")} | {
        "LD_PRELOAD": str(built.shim),
        "LD_LIBRARY_PATH": str(built.driver),
        "VGPU_SIM_CONFIG": str(config),
        "VGPU_SIM_STATE": str(tmp_path / "state"),
    }


@pytest.fixture
def new_slice(machine: dict[str, str], tmp_path: pathlib.Path) -> Callable[..., Slice]:
    """Makes slices of one machine: new_slice(memory=bytes, compute=per cent, devices=count)."""
    numbers = itertools.count()

    def make(*, memory: int = 8 * GIB, compute: int = 100, devices: int = 1) -> Slice:
        directory = tmp_path / f"slice-{next(numbers)}"
        made = Slice(directory=directory, environment=machine | {"VGPU_DIR": str(directory)})
        made.usage_path.parent.mkdir(parents=True)
        UsagePage.create(made.usage_path, device_count=devices).close()
        lines = [limits(index, memory=memory, compute=compute) for index in range(devices)]
        LimitsPage.create(made.limits_path, lines, slice_id=directory.name).close()
        return made

    return make


def limits(index: int, *, memory: int, compute: int) -> DeviceLimits:
    device = uuid.UUID(f"00000000-0000-4000-8000-{index:012d}")
    return DeviceLimits(uuid=f"GPU-{device}", memory_limit=memory, compute_percent=compute)
