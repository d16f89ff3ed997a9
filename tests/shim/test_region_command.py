"""vgpu-region: what people and scripts type, and what they get."""

import json
import pathlib
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click.testing
import pytest

from vgpu_shim.__main__ import cli
from vgpu_shim.limits import UNLIMITED, LimitsPage
from vgpu_shim.usage import UsagePage

if TYPE_CHECKING:
    from tests.shim.conftest import Slice

MIB, GIB = 1 << 20, 1 << 30
DEVICE, OTHER = (f"GPU-00000000-0000-4000-8000-00000000000{n}" for n in range(2))


def invoke(*arguments: str | pathlib.Path) -> click.testing.Result:
    return click.testing.CliRunner().invoke(cli, [str(argument) for argument in arguments])


def run(*arguments: str | pathlib.Path) -> str:
    result = invoke(*arguments)
    assert result.exit_code == 0, result.output
    return result.output


def shown(directory: pathlib.Path) -> Any:
    return json.loads(run(directory, "show", "-o", "json"))


def limits(directory: pathlib.Path) -> list[Any]:
    return [device["limits"] for device in shown(directory)["devices"]]


def create(directory: pathlib.Path, *more: str) -> None:
    run(directory, "create", "--device", DEVICE, "--memory", "8Gi", "--compute", "50", *more)


@pytest.fixture
def directory(tmp_path: pathlib.Path) -> pathlib.Path:
    create(tmp_path / "slice", "--device", OTHER, "--slice-id", "team-a/llm")
    return tmp_path / "slice"


def test_create_makes_both_pages_with_the_limits_asked_for(directory: pathlib.Path) -> None:
    report = shown(directory)

    assert report["slice"] == "team-a/llm"
    found = [device["limits"] for device in report["devices"]]
    assert [line["uuid"] for line in found] == [DEVICE, OTHER]
    assert {(line["memory_limit"], line["compute_percent"]) for line in found} == {(8 * GIB, 50)}
    assert all(device["usage"]["used"] == 0 for device in report["devices"])
    assert not (directory / "required").exists()


def test_create_again_changes_nothing(directory: pathlib.Path) -> None:
    before = shown(directory)

    create(directory, "--device", OTHER, "--slice-id", "another")

    assert shown(directory) == before


def test_create_leaves_the_mark_when_told(tmp_path: pathlib.Path) -> None:
    create(tmp_path, "--required")

    assert (tmp_path / "required").exists()


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("4096", 4096), ("3Ki", 3072), ("512Mi", 512 * MIB), ("40Gi", 40 * GIB), ("1Ti", 1 << 40),
     ("5k", 5000), ("2M", 2_000_000), ("10G", 10**10), ("1T", 10**12), ("unlimited", UNLIMITED)],
)  # fmt: skip
def test_sizes_are_read_as_written(directory: pathlib.Path, text: str, size: int) -> None:
    run(directory, "set", "--memory", text)

    assert [line["memory_limit"] for line in limits(directory)] == [size, size]


@pytest.mark.parametrize("text", ["", "Gi", "8GB", "1.5Gi", "-1", "8gi", "8 Gi", "8GiGi", "all"])
def test_a_size_that_is_none_is_refused_with_an_example(directory: pathlib.Path, text: str) -> None:
    result = invoke(directory, "set", "--memory", text)

    assert result.exit_code == 2
    assert "like 8Gi" in result.output
    assert [line["memory_limit"] for line in limits(directory)] == [8 * GIB] * 2


def test_set_changes_what_is_named_on_the_device_named(directory: pathlib.Path) -> None:
    before = limits(directory)

    run(directory, "set", "--device", OTHER, "--memory", "4Gi", "--lent", "20", "--ceiling", "90")

    changed = {"memory_limit": 4 * GIB, "lent_percent": 20, "ceiling_percent": 90}
    assert limits(directory) == [before[0], before[1] | changed]


@pytest.mark.parametrize(
    ("options", "field", "value"),
    [
        (["--compute", "100"], "compute_percent", 100),
        (["--weight", "7"], "weight", 7),
        (["--memory-ceiling", "12Gi"], "memory_ceiling", 12 * GIB),
        (["--memory-wait-ms", "250"], "memory_wait_ms", 250),
    ],
)
def test_each_option_sets_its_limit(
    directory: pathlib.Path, options: list[str], field: str, value: int
) -> None:
    before = limits(directory)

    run(directory, "set", *options)

    assert limits(directory) == [line | {field: value} for line in before]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["set"], "nothing to set"),
        (["set", "--device", "GPU-none", "--weight", "1"], "device GPU-none is not in this slice"),
        (["set", "--compute", "0"], "0 is not in the range"),
        (["set", "--compute", "101"], "101 is not in the range"),
        (["create", "--memory", "1Gi", "--compute", "5"], "--device"),
        (["show", "-o", "yaml"], "yaml"),
        (["watch", "--count", "0"], "0 is not in the range"),
        (["destroy"], "No such command"),
    ],
)
def test_wrong_use_is_explained(directory: pathlib.Path, arguments: list[str], said: str) -> None:
    result = invoke(directory, *arguments)

    assert result.exit_code == 2
    assert said in result.output


def test_show_is_a_table_for_people(new_slice: "Callable[..., Slice]") -> None:
    slice_ = new_slice(memory=8 * GIB, compute=50)
    with slice_.tenant() as tenant:
        tenant.call("allocate", 512 * MIB)

        head, line = run(slice_.directory, "show").splitlines()

    assert head.split()[:6] == ["DEVICE", "PIDS", "MEMORY", "LIMIT", "COMPUTE", "LENT"]
    assert line.split()[:6] == [DEVICE, "1", "512Mi", "8Gi", "50%", "+0%"]
    assert line.index("512Mi") == head.index("MEMORY")


def test_show_lists_processes_for_scripts(new_slice: "Callable[..., Slice]") -> None:
    slice_ = new_slice(memory=GIB)
    with slice_.tenant() as tenant:
        tenant.call("allocate", MIB)

        usage = shown(slice_.directory)["devices"][0]["usage"]

    assert [(process["pid"], process["memory"]) for process in usage["processes"]] == [(tenant.pid, MIB)]


def test_reap_says_what_it_took_back(new_slice: "Callable[..., Slice]") -> None:
    slice_ = new_slice(memory=GIB)
    with slice_.tenant() as tenant:
        tenant.call("allocate", MIB)
        tenant.kill()

        first, second = (run(slice_.directory, "reap") for _ in range(2))

    assert first.startswith("1 dead, 0 repaired in ")
    assert second.startswith("0 dead, 0 repaired in ")
    with UsagePage(slice_.usage_path) as usage:
        assert usage.used(0) == 0


def test_watch_prints_again_at_once_when_limits_change(directory: pathlib.Path) -> None:
    changing = threading.Event()

    def change_until_told() -> None:
        with LimitsPage(directory / "limits", writable=True) as page:
            while not changing.is_set():
                page.update(0, weight=(page.read(0).weight + 1) % 100)

    writer = threading.Thread(target=change_until_told)
    writer.start()
    try:
        lines = run(directory, "watch", "--every", "3600", "--count", "3", "-o", "json").splitlines()
    finally:
        changing.set()
        writer.join()

    generations = [json.loads(line)["generation"] for line in lines]
    assert len(generations) == 3
    assert generations == sorted(set(generations))


# ---- as a process: exit codes, and one line of error instead of a traceback -------------


def process(*arguments: str | pathlib.Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "vgpu_shim", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_the_command_runs_as_a_process(directory: pathlib.Path) -> None:
    done = process(directory, "show", "-o", "json")

    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == shown(directory)


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "No such file or directory"), (b"nonsense", "not a page of this version")],
)
def test_a_page_that_is_none_is_one_line_and_exit_code_1(
    tmp_path: pathlib.Path, content: bytes | None, said: str
) -> None:
    if content is not None:
        (tmp_path / "limits").write_bytes(content)

    done = process(tmp_path, "show")

    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("vgpu-region: open limits page")
    assert said in line


def test_a_device_that_is_none_is_one_line_and_exit_code_1(tmp_path: pathlib.Path) -> None:
    done = process(tmp_path, "create", "--device", "gpu0", "--memory", "1Gi", "--compute", "5")

    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("vgpu-region: device UUID is 'gpu0': expected GPU-")
    assert list(tmp_path.iterdir()) == []


def test_a_size_beyond_the_page_is_one_line_of_error(directory: pathlib.Path) -> None:
    done = process(directory, "set", "--memory", "99999999999Ti")

    assert done.returncode in (1, 2)
    assert "Traceback" not in done.stderr


def test_more_devices_than_a_page_has_are_one_line_and_exit_code_1(tmp_path: pathlib.Path) -> None:
    devices = [f"--device=GPU-{n:032x}" for n in range(17)]

    done = process(tmp_path, "create", *devices, "--memory", "1Gi", "--compute", "5")

    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert not (tmp_path / "limits").exists()
