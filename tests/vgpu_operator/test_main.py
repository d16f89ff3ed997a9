"""The command line."""

import pytest
from click.testing import CliRunner

from vgpu_operator.__main__ import main


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, arguments)
    return result.exit_code, result.output


def test_help_tells_what_the_operator_does_and_hides_what_is_for_tests() -> None:
    code, output = run("--help")

    assert code == 0
    assert "Run one replica" in output
    assert "--crash-at" not in output


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--kubeconfig", "/nonexistent/kubeconfig"], "expected a cluster in /nonexistent/kubeconfig"),
        (["--crash-at", "point:zero"], "expected NAME or NAME:N"),
        (["--metrics-port", "70000"], "70000 is not in the range"),
        (["--log-level", "loud"], "'loud' is not one of"),
    ],
)
def test_bad_options_end_with_what_was_expected(arguments: list[str], told: str) -> None:
    code, output = run(*arguments)

    assert code != 0
    assert told in output
    assert "Traceback" not in output
