"""The command prints its tables for a file of one's own, and refuses bad input in words before it runs."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import small_model
from elasticity import __main__ as command
from elasticity import contest, profiles


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in profiles.MEMORY_GIB:
        small_model.written(tmp_path, name)
    return tmp_path


def called(folder: Path, *options: str) -> int:
    return command.main(["--profiles", str(folder), "--seconds", "40", *options])


def test_a_file_of_rates_is_played_with_json_and_a_picture(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    load = folder / "mine.txt"
    load.write_text("1\n2\n" * 30)
    saved, plots = folder / "new" / "runs.json", folder / "plots"

    code = called(
        folder, "--trace", str(load), "--policy", "hpa", "--seed", "1", "2",
        "--json", str(saved), "--plots", str(plots),
    )  # fmt: skip

    printed = capsys.readouterr().out
    assert code == 0
    assert [row["seed"] for row in json.loads(saved.read_text())] == [1, 2]
    assert len(contest.saved(saved)) == 2
    assert (plots / "mine.txt-1.svg").read_text().startswith("<svg")
    assert "hpa" in printed


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--trace", "nowhere.csv"], "expected a trace at nowhere.csv"),
        (["--trace", "{folder}/empty"], "expected 30 seconds or more"),
        (["--profiles", "{folder}/none"], "expected rows of batch, share, latency, rate"),
        (["--beside", "{folder}/empty"], "expected runs saved by this version"),
        (["--json", "{folder}/empty/runs.json"], "File exists"),
    ],
)
def test_bad_input_is_refused_in_words(
    folder: Path, capsys: pytest.CaptureFixture[str], options: list[str], words: str
) -> None:
    (folder / "empty").write_text("")

    code = called(folder, *(option.format(folder=folder) for option in options))

    assert code == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("options", [["--seconds", "0"], ["--policy", "magic"], ["--seed", "x"]])
def test_options_that_make_no_sense_are_refused(folder: Path, options: list[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        called(folder, *options)

    assert refused.value.code == 2


def test_who_reads_no_further_ends_it_quietly(folder: Path) -> None:
    load = folder / "mine.txt"
    load.write_text("1\n2\n" * 30)
    command_line = (
        sys.executable,
        "-m",
        "elasticity",
        "--profiles",
        folder,
        "--trace",
        load,
        "--policy",
        "hpa",
    )

    with subprocess.Popen(command_line, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.close()
        said = running.stderr.read()

    assert not said
    assert running.returncode == -signal.SIGPIPE
