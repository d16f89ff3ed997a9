"""The kernel, built once for the tests that hold it to the rules in Python."""

import shutil
import subprocess
from pathlib import Path

import pytest

from vgpu.placement import kernel


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler: the rules are played in Python")
    built = tmp_path_factory.mktemp("kernel") / "_kernel.so"
    source = Path(kernel.__file__).with_suffix(".c")
    flags = [
        "-std=c11",
        "-O1",
        "-Wall",
        "-Wextra",
        "-Wconversion",
        "-Werror",
        "-ffp-contract=off",
        "-fPIC",
        "-shared",
    ]
    subprocess.run([compiler, *flags, "-o", str(built), str(source)], check=True)
    return built
