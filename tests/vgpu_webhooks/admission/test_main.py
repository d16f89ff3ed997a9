from pathlib import Path

from click.testing import CliRunner

from vgpu_webhooks.admission import __main__ as command


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(command.main, arguments)
    return result.exit_code, result.output + (str(result.exception) if result.exception else "")


def test_help_names_every_option() -> None:
    code, text = run("--help")

    assert code == 0
    for option in ("--kubeconfig", "--log-level", "--host", "--port", "--cert", "--key"):
        assert option in text


def test_a_point_to_die_at_has_to_be_one() -> None:
    code, text = run("--crash-at", ":0", "--cert", "a", "--key", "b")

    assert code == 2
    assert "expected NAME or NAME:N" in text


def test_without_certificates_it_ends_in_words(tmp_path: Path) -> None:
    code, text = run("--cert", str(tmp_path / "no.crt"), "--key", str(tmp_path / "no.key"))

    assert code != 0
    assert "vgpu-admission: expected a PEM certificate in" in text
