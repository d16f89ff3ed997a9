import os
import subprocess
import sys
from pathlib import Path

import pytest

DEFECT = "import vgpu_cli.__main__ as m; m.app = lambda **_: 1 / 0; m.main()"
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
