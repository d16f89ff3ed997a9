"""bench/gpu/run.py where there is no GPU: it says so, claims nothing, and takes no simulation for one."""

import json
import os
import pathlib
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.shim.conftest import Built

ROOT = pathlib.Path(__file__).parents[2]
SCRIPT = ROOT / "bench" / "gpu" / "run.py"


def run(
    drivers: pathlib.Path, state: pathlib.Path, *arguments: str | pathlib.Path
) -> subprocess.CompletedProcess[str]:
    """The script, with the drivers of that folder before any other."""
    environment = os.environ | {"LD_LIBRARY_PATH": str(drivers), "VGPU_SIM_STATE": str(state)}
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture
def no_driver(tmp_path: pathlib.Path) -> pathlib.Path:
    """A folder whose libcuda.so.1 is none, also on a machine that has a GPU."""
    folder = tmp_path / "drivers"
    folder.mkdir()
    (folder / "libcuda.so.1").write_bytes(b"")
    return folder


def test_without_a_driver_nothing_is_claimed(no_driver: pathlib.Path, tmp_path: pathlib.Path) -> None:
    done = run(no_driver, tmp_path / "machine", "--out", tmp_path / "results.json")

    assert done.returncode == 0
    assert done.stdout.startswith("No NVIDIA GPU here")
    assert "nothing was measured, and nothing is claimed" in done.stdout
    assert not (tmp_path / "results.json").exists()


def test_the_simulated_driver_is_not_taken_for_a_gpu(built: "Built", tmp_path: pathlib.Path) -> None:
    done = run(built.driver, tmp_path / "machine", "--out", tmp_path / "results.json")

    assert done.returncode == 0
    assert "No NVIDIA GPU here (the libcuda.so.1 found is the simulated driver" in done.stdout
    assert not (tmp_path / "results.json").exists()


def test_a_rehearsal_names_no_gpu(built: "Built", tmp_path: pathlib.Path) -> None:
    out = tmp_path / "rehearsal.json"

    done = run(
        built.driver, tmp_path / "machine", "--rehearse", "--steps", "memory", "memory-torch", "--out", out
    )

    report: dict[str, Any] = json.loads(out.read_text())
    assert done.returncode == 0, done.stderr
    assert "says nothing about any GPU" in done.stdout
    assert "says nothing about any GPU" in report["rehearsal"]
    assert not {"gpu", "driver", "cuda"} & set(report)
    filled = report["steps"]["memory"]["8GiB"]
    assert {way: found["held"] for way, found in filled.items()} == dict.fromkeys(
        ["linear", "stream-ordered", "virtual"], 8 << 30
    )
    assert all(found["views_agree"] and found["codes"] == [2] for found in filled.values())


def test_steps_of_the_same_kind_of_run_share_a_file(built: "Built", tmp_path: pathlib.Path) -> None:
    out = tmp_path / "rehearsal.json"
    options = ("--rehearse", "--out", out, "--steps")

    codes = [
        run(built.driver, tmp_path / "machine", *options, step).returncode
        for step in ("memory-torch", "compute-torch")
    ]
    other = run(built.driver, tmp_path / "machine", "--seconds", "3", *options, "memory-torch")

    assert codes == [0, 0]
    assert set(json.loads(out.read_text())["steps"]) == {"memory-torch", "compute-torch"}
    assert other.returncode == 1
    assert "has seconds 10.0, this run 3.0: name another --out" in other.stderr


def test_a_rehearsal_does_not_go_to_the_results(built: "Built", tmp_path: pathlib.Path) -> None:
    out = ROOT / "bench" / "gpu" / "results" / "rehearsal.json"

    done = run(built.driver, tmp_path / "machine", "--rehearse", "--steps", "memory", "--out", out)

    assert done.returncode == 2
    assert "a rehearsal is no result" in done.stderr
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--steps", "speed"], "invalid choice"),
        (["--seconds", "0"], "not above 0"),
        (["--seconds", "long"], "invalid"),
        (["--library", "missing.so"], "no such file"),
    ],
)
def test_wrong_use_is_explained(
    no_driver: pathlib.Path, tmp_path: pathlib.Path, arguments: list[str], said: str
) -> None:
    done = run(no_driver, tmp_path / "machine", *arguments)

    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_help_names_every_step(no_driver: pathlib.Path, tmp_path: pathlib.Path) -> None:
    done = run(no_driver, tmp_path / "machine", "--help")

    assert done.returncode == 0
    for step in ("facts", "memory-torch", "compute-torch", "overhead", "pairs", "live", "robustness"):
        assert f"  {step} " in done.stdout
