"""The command line: help that helps, and options that are refused before anything starts."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from vgpu_webhooks.extender.__main__ import main


def test_help_names_every_option_but_those_for_tests() -> None:
    answer = CliRunner().invoke(main, ["--help"])

    assert answer.exit_code == 0
    for option in ("--kubeconfig", "--port", "--host", "--identity", "--lease-duration", "--namespace"):
        assert option in answer.output
    assert "--crash-at" not in answer.output


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--port", "70000"], "70000 is not in the range"),
        (["--lease-duration", "1"], "1 is not in the range"),
        (["--log-level", "loud"], "'loud' is not one of"),
        (["--kubeconfig", "/nonexistent/config"], "does not exist"),
        (["--crash-at", "after-slice:none"], "expected NAME or NAME:N"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused(arguments: list[str], expected: str) -> None:
    answer = CliRunner().invoke(main, arguments)

    assert answer.exit_code == 2
    assert expected in answer.output


def test_a_kubeconfig_that_is_none_is_named(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text("clusters: []\n")

    answer = CliRunner().invoke(main, ["--kubeconfig", str(path)])

    assert answer.exit_code == 1
    assert answer.output.startswith("Error: ")
    assert str(path) in answer.output
