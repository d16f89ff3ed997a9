import inspect
import pathlib

from click.testing import CliRunner

from vgpu_agent import __main__ as main


def test_help_helps() -> None:
    shown = CliRunner().invoke(main.main, ["--help"])

    assert shown.exit_code == 0
    assert "limits that containers cannot start without" in " ".join(shown.output.split())


def test_every_option_reaches_the_agent() -> None:
    options = {parameter.name for parameter in main.main.params}

    assert options - {"log_level", "help"} == set(inspect.signature(main.Options).parameters)


def test_a_cluster_that_cannot_be_found_is_told_in_one_line(tmp_path: pathlib.Path) -> None:
    missing = str(tmp_path / "none")

    ended = CliRunner().invoke(main.main, ["--node", "node-0", "--kubeconfig", missing])

    assert ended.exit_code == 1
    assert "vgpu-agent: expected a cluster in" in ended.output
    assert missing in ended.output
