"""A child process is ready when it says so, and gone when it was told to go."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from vgpu_e2e import errors, process

SERVE = "import signal; print('up', flush=True); signal.pause()"
STUBBORN = f"import signal; signal.signal(15, signal.SIG_IGN); {SERVE}"


def python(code: str, folder: Path, name: str = "child") -> process.Process:
    return process.Process(name, [sys.executable, "-c", code], log=folder / f"{name}.log")


async def started(child: process.Process) -> process.Process:
    child.start()
    await child.ready(lambda: says(child, "up"), awaited="the word up", timeout_seconds=20)
    return child


async def says(child: process.Process, word: str) -> bool:
    return word in child.log_tail()


async def test_a_process_is_stopped_by_sigterm(tmp_path: Path) -> None:
    child = await started(python(SERVE, tmp_path))

    await child.stop()

    assert child.returncode == -signal.SIGTERM


async def test_a_process_that_ignores_sigterm_is_killed_after_the_grace(tmp_path: Path) -> None:
    child = await started(python(STUBBORN, tmp_path))

    await child.stop(grace_seconds=0.1)

    assert child.returncode == -signal.SIGKILL


async def test_a_process_leads_a_session_of_its_own(tmp_path: Path) -> None:
    child = await started(python(SERVE, tmp_path))

    assert os.getsid(child.pid) == os.getpgid(child.pid) == child.pid

    await child.killed()


async def test_what_a_process_started_is_killed_with_it(tmp_path: Path) -> None:
    code = (
        "import subprocess; c = subprocess.Popen(['sleep', '600']); print('up', c.pid, flush=True); c.wait()"
    )
    child = await started(python(code, tmp_path))
    grandchild = int(child.log_tail().split()[1])

    await child.killed()

    await process.until(lambda: gone(grandchild), timeout_seconds=5, awaited="the grandchild's end")


async def gone(pid: int) -> bool:
    return state(pid) in (None, "Z")  # a zombie is only waiting to be noticed


def state(pid: int) -> str | None:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2]
    except FileNotFoundError:
        return None


async def test_a_killed_process_can_be_started_again(tmp_path: Path) -> None:
    child = await started(python(SERVE, tmp_path))
    first = child.pid
    await child.killed()

    child.start()

    assert child.pid != first
    await child.killed()


async def test_extra_arguments_are_for_one_start_only(tmp_path: Path) -> None:
    child = python(f"import sys; print(len(sys.argv), flush=True); {SERVE}", tmp_path)

    child.start("--crash-at", "bind")
    await child.ready(lambda: says(child, "3\nup"), awaited="three arguments")
    await child.killed()
    child.start()
    await child.ready(lambda: says(child, "1\nup"), awaited="one argument")

    await child.killed()


async def test_a_process_is_not_started_twice(tmp_path: Path) -> None:
    child = await started(python(SERVE, tmp_path))

    with pytest.raises(errors.BedError, match="stop it first"):
        child.start()

    await child.killed()


async def test_a_process_that_ends_early_is_reported_with_its_log(tmp_path: Path) -> None:
    child = python("import sys; sys.exit('no such file: a.yaml')", tmp_path, name="kube-thing")
    child.start()

    with pytest.raises(
        process.StartError, match=r"(?s)kube-thing ended with 1.*GET /readyz.*no such file: a.yaml"
    ):
        await child.ready(never, awaited="GET /readyz")


async def never() -> bool:
    return False


async def test_a_process_that_is_late_is_reported_with_what_was_awaited(tmp_path: Path) -> None:
    child = await started(python(SERVE, tmp_path))

    with pytest.raises(process.StartError, match=r"not ready after 0\.05 s; awaited: GET /readyz"):
        await child.ready(never, awaited="GET /readyz", timeout_seconds=0.05)

    await child.killed()


async def test_a_process_that_never_was_started_has_no_pid(tmp_path: Path) -> None:
    child = python(SERVE, tmp_path)

    with pytest.raises(errors.BedError, match="never was"):
        _ = child.pid
    await child.stop()


async def test_a_process_dies_with_the_one_that_started_it(tmp_path: Path) -> None:
    starter = f"""
import pathlib, os, sys
from vgpu_e2e import process
log = pathlib.Path({str(tmp_path / "log")!r})
child = process.Process("child", [sys.executable, "-c", {SERVE!r}], log=log)
child.start()
while "up" not in child.log_tail(): os.sched_yield()
print(child.pid, flush=True)
os.kill(os.getpid(), 9)
"""
    environment = os.environ | {"PYTHONPATH": str(Path(process.__file__).parents[1])}
    done = await asyncio.create_subprocess_exec(
        sys.executable, "-c", starter, env=environment, stdout=subprocess.PIPE
    )
    output, _ = await done.communicate()
    child = int(output)

    await process.until(lambda: gone(child), timeout_seconds=5, awaited="the child's end")


async def test_a_snatched_port_is_replaced_by_another(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        tried: list[int] = []

        def build(ports: list[int]) -> process.Process:
            port = ports[0] if tried else taken.getsockname()[1]
            tried.append(port)
            code = f"import socket; s = socket.create_server(('127.0.0.1', {port})); {SERVE}"
            return python(code, tmp_path, name=f"server-{len(tried)}")

        def probe(_: list[int]) -> process.Probe:
            return lambda: has_word(tmp_path / f"server-{len(tried)}.log", "up")

        child, ports = await process.start_on_free_ports(build, probe, count=1, awaited="up")

    assert len(tried) == 2
    assert ports == tried[1:]
    await child.killed()


async def has_word(path: Path, word: str) -> bool:
    return word in text(path)


def text(path: Path) -> str:
    return path.read_text()


async def test_waiting_in_vain_names_what_was_awaited() -> None:
    with pytest.raises(errors.BedError, match=r"expected godot within 0\.01 s"):
        await process.until(never, timeout_seconds=0.01, awaited="godot")


def test_free_ports_are_distinct() -> None:
    assert len(set(process.free_ports(20))) == 20
