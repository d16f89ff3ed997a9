"""Builds the simulated driver, once and if need be."""

import pathlib
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope="session")
def simulated() -> pathlib.Path:
    """The folder that holds libcuda.so.1 and libnvidia-ml.so.1."""
    if shutil.which("make") is None or shutil.which("cc") is None:
        pytest.skip("the simulated driver is built from C: expected make and cc on the PATH")
    lock = ROOT / "build" / "shim" / "lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    make = ["flock", str(lock), "make", "-s", "-f", "sim.mk", "sim"]  # all who build it wait for each other
    subprocess.run(make, cwd=ROOT / "shim", check=True, timeout=300)
    return ROOT / "build" / "shim" / "sim"
