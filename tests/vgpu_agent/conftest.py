"""The real shim and the simulated driver, built once, for tests that look at both sides of a page."""

import dataclasses
import pathlib
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).parents[2]
BUILT = ROOT / "build" / "shim"


@dataclasses.dataclass(frozen=True)
class Built:
    shim: pathlib.Path
    driver: pathlib.Path

    @property
    def nvml(self) -> pathlib.Path:
        return self.driver / "libnvidia-ml.so.1"


@pytest.fixture(scope="session")
def built() -> Built:
    if shutil.which("make") is None or shutil.which("cc") is None:
        pytest.skip("shim and simulated driver are built from C: expected make and cc on the PATH")
    BUILT.mkdir(parents=True, exist_ok=True)
    build = ["flock", str(BUILT / "lock"), "make", "-s", "-C", str(ROOT / "shim"), "lib", "sim"]
    subprocess.run(build, check=True, timeout=300)
    return Built(shim=BUILT / "libvgpu.so", driver=BUILT / "sim")
