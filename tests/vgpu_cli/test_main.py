import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

DEFECT = "import vgpu_cli.app as a; a.app = lambda **_: 1 / 0; import vgpu_cli.__main__ as m; m.main()"
HEAVY = {"kubernetes", "kopf", "aiohttp", "pydantic", "numpy", "cryptography"}


def _run(*words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **environ})


def test_an_unforeseen_error_is_a_sentence_and_a_traceback_only_on_request() -> None:
    ended = _run("-c", DEFECT, VGPU_DEBUG="")

    assert ended.returncode == 1
    assert ended.stderr.startswith("Error: unforeseen ZeroDivisionError")
    assert "Traceback" not in ended.stderr
    assert "Traceback" in _run("-c", DEFECT, VGPU_DEBUG="1").stderr


def test_without_a_kubeconfig_it_ends_with_3(tmp_path: Path) -> None:
    ended = _run("-m", "vgpu_cli", "status", KUBECONFIG=str(tmp_path / "absent"))

    assert ended.returncode == 3
    assert "expected a kubeconfig at" in ended.stderr


@pytest.mark.parametrize("name", ["status", "top", "version", "completion"])
def test_quick_commands_load_nothing_heavy(name: str) -> None:
    script = f"import sys, vgpu_cli.door, vgpu_cli.commands.{name}; print(*sys.modules)"

    assert not HEAVY & set(_run("-c", script).stdout.split())


@pytest.fixture
def silent(tmp_path: Path) -> Iterator[tuple[Path, socket.socket]]:
    """A kubeconfig, and the server that it leads to, which takes requests and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        login = {"server": f"http://127.0.0.1:{server.getsockname()[1]}"}
        config = {
            "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": login}],
            "users": [{"name": "u", "user": {}}],
        }
        path = tmp_path / "config"
        path.write_text(json.dumps(config))
        server.settimeout(30)
        yield path, server


@pytest.mark.parametrize("words", [["--help"], ["completion", "bash"], ["status", "--help"]], ids=" ".join)
def test_a_reader_that_has_gone_ends_it_without_a_word(words: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)

    ended = subprocess.run(
        [sys.executable, "-m", "vgpu_cli", *words], stdout=writing, stderr=subprocess.PIPE, check=False
    )
    os.close(writing)

    assert (ended.returncode, ended.stderr) == (141, b"")


@pytest.mark.parametrize("name", ["status", "tree", "top", "check", "report"])
def test_ctrl_c_ends_it_at_once_and_without_a_word(name: str, silent: tuple[Path, socket.socket]) -> None:
    """While it waits for an answer, which would last ten seconds more."""
    config, server = silent
    command = [sys.executable, "-m", "vgpu_cli", "--kubeconfig", str(config), name]

    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        connection, _ = server.accept()
        with connection:
            child.send_signal(signal.SIGINT)
            _, complaint = child.communicate(timeout=5)

    assert (child.returncode, complaint) == (130, b"")
