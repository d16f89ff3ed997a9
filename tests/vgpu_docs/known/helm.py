"""helm: commands, options, the chart, and the values that are set. Rendering is the e2e cases' part."""

import json
import re
from collections.abc import Iterator
from typing import Any

from known.definitions import ROOT
from vgpu_docs.commands import Command

SCHEMA = json.loads((ROOT / "helm" / "vgpu" / "values.schema.json").read_text())
VALUES = {"--namespace", "-n", "--set", "--set-file", "--version"}
COMMANDS = {
    "install": {"--namespace", "-n", "--create-namespace", "--wait", "--set", "--set-file", "--version"},
    "upgrade": {
        *("--namespace", "-n", "--create-namespace", "--install", "--wait", "--set", "--set-file"),
        *("--reset-then-reuse-values", "--version"),
    },
    "uninstall": {"--namespace", "-n", "--wait"},
}
TYPES: dict[str, type] = {
    "boolean": bool,
    "integer": int,
    "string": str,
}


def check(command: Command) -> None:
    _, verb, *words = command.words
    assert verb in COMMANDS, f"helm {verb} is not known here: add it with its options"
    left, rest = iter(words), []
    for word in left:
        if not word.startswith("-"):
            rest.append(word)
            continue
        name, is_set, value = word.partition("=")
        assert name in COMMANDS[verb], f"helm {verb} {name} is not known here: add it"
        value = value if is_set or name not in VALUES else next(left)
        if name in {"--set", "--set-file"}:
            for setting in value.split(","):
                check_setting(setting, from_file=name == "--set-file")
    release, *chart = rest
    if verb != "uninstall":
        assert (release, chart) == ("vgpu", ["helm/vgpu"])
        assert (ROOT / chart[0] / "Chart.yaml").exists()


def check_setting(setting: str, *, from_file: bool = False) -> None:
    """A dotted name is one of the chart's values, and what it is set to is one that it takes."""
    path, is_set, value = setting.partition("=")
    schema = SCHEMA
    for part in path.split("."):
        below = schema.get("properties", {})
        assert part in below, f"{path}: there is no value {part}; there are {', '.join(below)}"
        schema = below[part]
    if is_set and not from_file and not _is_placeholder(value):
        found: Any = {"true": True, "false": False}.get(value, value)
        found = int(value) if re.fullmatch(r"\d+", value) else found
        assert isinstance(found, tuple(_types(schema))), f"{setting}: expected {schema}"
        assert found in schema.get("enum", [found]), f"{setting}: expected one of {schema['enum']}"
        if "pattern" in schema:
            assert re.search(schema["pattern"], str(found)), f"{setting}: expected {schema['pattern']}"


def _is_placeholder(value: str) -> bool:
    return value.isupper() or "..." in value


def _types(schema: Any) -> Iterator[type]:
    if "enum" in schema:
        return (type(each) for each in schema["enum"])
    given = schema["type"]
    return (TYPES[each] for each in ([given] if isinstance(given, str) else given))
