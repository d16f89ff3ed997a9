"""The module for applications in a slice's directory."""

import pathlib
import subprocess
import sys

import pytest

from vgpu_agent import python


@pytest.fixture
def library(tmp_path: pathlib.Path) -> pathlib.Path:
    (tmp_path / "lib").mkdir()
    return tmp_path / "lib"


def test_an_application_imports_it_from_the_slice(library: pathlib.Path, tmp_path: pathlib.Path) -> None:
    python.offer(python.install(library), tmp_path / "slice")

    found = subprocess.run(
        [sys.executable, "-I", "-c", "import sys; sys.path.insert(0, sys.argv[1]); import vgpu_client as c;"
         "print(c.__file__); print(c.watch(print))", str(tmp_path / "slice" / "python")],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip

    assert found.stdout.splitlines() == [f"{tmp_path}/slice/python/vgpu_client/__init__.py", "None"]


def test_a_newer_version_lies_beside_the_older_one(library: pathlib.Path, tmp_path: pathlib.Path) -> None:
    installed, directory = python.install(library), tmp_path / "slice"
    python.offer(installed, directory)
    newer = library / "vgpu_client-newer"
    newer.mkdir()
    (newer / "__init__.py").write_text("VERSION = 2\n")

    python.offer(newer, directory)

    assert (directory / "python" / "vgpu_client").resolve().name == newer.name
    assert (directory / "python" / installed.name / "__init__.py").exists()


def test_an_install_that_was_cut_short_is_made_anew(library: pathlib.Path) -> None:
    installed = python.install(library)
    installed.rename(installed.with_suffix(".fresh"))
    (installed.with_suffix(".fresh") / "page.py").unlink()

    assert (python.install(library) / "page.py").exists()
