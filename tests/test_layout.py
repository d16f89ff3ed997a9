"""The repository's own rules that no other tool checks."""

from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_operator_is_a_room_and_never_a_package() -> None:
    assert not (ROOT / "operator" / "__init__.py").exists(), "it would shadow the standard library's operator"


def test_no_tracked_module_is_called_operator() -> None:
    found = [path for path in ROOT.rglob("operator.py") if ".venv" not in path.parts]

    assert found == []


def test_tests_are_not_packages() -> None:
    assert list((ROOT / "tests").rglob("__init__.py")) == []
