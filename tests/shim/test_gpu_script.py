"""bench/gpu/run.py where there is no GPU: it says so, claims nothing, and takes no simulation for one."""

import json
import os
import pathlib
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from gpu import command, report, steps

if TYPE_CHECKING:
    from tests.shim.conftest import Built

ROOT = pathlib.Path(__file__).parents[2]
SCRIPT = ROOT / "bench" / "gpu" / "run.py"


def run(
    drivers: pathlib.Path, state: pathlib.Path, *arguments: str | pathlib.Path
) -> subprocess.CompletedProcess[str]:
    """The script, with the drivers of that folder before any other."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("VGPU_")}
    environment = inherited | {"LD_LIBRARY_PATH": str(drivers), "VGPU_SIM_STATE": str(state)}
    words = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(words, env=environment, capture_output=True, text=True, timeout=120, check=False)


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
    options = ("--rehearse", "--steps", "robustness", "--starts", "2", "--out", out)

    done = run(built.driver, tmp_path / "machine", *options)

    found: report.Report = json.loads(out.read_text())
    assert done.returncode == 0, done.stderr
    assert "says nothing about any GPU" in done.stdout
    assert "says nothing about any GPU" in found["rehearsal"]
    assert not {"gpu", "driver", "cuda"} & set(found)
    assert found["steps"]["robustness"]["killed"]["held"] == 20 << 30
    assert found["steps"]["robustness"]["killed"]["headroom_back_ms"] < 10_000


RUN: report.Report = {
    "gpu": "NVIDIA H100",
    "driver": "580.1",
    "cuda": 13000,
    "commit": "abc",
    "seconds": 10.0,
}


def test_steps_of_the_same_kind_of_run_share_a_file(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "results" / "run.json"
    first = report.resume(RUN | {"date": "one", "steps": {"facts": {"figure": 1}}}, path)
    report.write(first, path)

    second = report.resume(RUN | {"date": "two", "steps": {}}, path)

    assert second == RUN | {"date": "two", "steps": {"facts": {"figure": 1}}}


@pytest.mark.parametrize("name", list(RUN))
def test_runs_that_differ_do_not_share_a_file(tmp_path: pathlib.Path, name: str) -> None:
    path = tmp_path / "run.json"
    report.write(RUN | {"steps": {}}, path)

    with pytest.raises(report.NotComparableError, match=f"has {name} .* name another --out"):
        report.resume(RUN | {"steps": {}, name: "another"}, path)


@pytest.mark.parametrize("content", ["", "[]", "{}", "junk"])
def test_a_file_that_holds_no_results_is_left_alone(tmp_path: pathlib.Path, content: str) -> None:
    path = tmp_path / "run.json"
    path.write_text(content)

    with pytest.raises(report.NotComparableError, match="is no results file"):
        report.resume(RUN | {"steps": {}}, path)

    assert path.read_text() == content


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--steps", "speed"], "invalid choice"),
        (["--seconds", "0"], "not above 0"),
        (["--seconds", "long"], "invalid"),
        (["--library", "missing.so"], "no such file"),
        (["--rehearse", "--out", str(report.RESULTS / "x.json")], "a rehearsal is no result"),
    ],
)
def test_wrong_use_is_explained(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["run.py", *arguments])

    assert exit_code() == 2
    assert said in capsys.readouterr().err


def exit_code() -> object:
    """What the command ends with, however it ends."""
    try:
        return command.main()
    except SystemExit as ended:
        return ended.code


def test_help_names_every_step(no_driver: pathlib.Path, tmp_path: pathlib.Path) -> None:
    done = run(no_driver, tmp_path / "machine", "--help")

    assert done.returncode == 0
    for step in steps.STEPS:
        assert f"  {step} " in done.stdout
