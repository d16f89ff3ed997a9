"""The chart's page: every value with its default and the sentence that stands above it in values.yaml."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

VALUES = Path(__file__).parents[2] / "helm" / "vgpu" / "values.yaml"


def page() -> str:
    """The page, values in the file's order."""
    rows = "\n".join(f"| `{key}` | `{default}` | {sentence} |" for key, default, sentence in values())
    return f"# Values of the chart\n\n| value | default | meaning |\n|---|---|---|\n{rows}\n"


def values() -> Iterator[tuple[str, str, str]]:
    """Each value that has a sentence: its path, its default as JSON-like text, the sentence."""
    text = VALUES.read_text()
    yield from _below(yaml.compose(text), (), text.splitlines())


def _below(node: Any, path: tuple[str, ...], lines: list[str]) -> Iterator[tuple[str, str, str]]:  # noqa: ANN401 -- yaml's nodes have no types
    for key, value in node.value:
        here = (*path, key.value)
        sentence = _comment_above(lines, key.start_mark.line)
        if sentence and len(here) > 0 and not _opens_the_file(key.start_mark.line, lines):
            yield ".".join(here), _default(value), sentence
        elif isinstance(value, yaml.MappingNode):
            yield from _below(value, here, lines)


def _comment_above(lines: list[str], line: int) -> str:
    found: list[str] = []
    while line > 0 and lines[line - 1].strip().startswith("#"):
        line -= 1
        found.insert(0, lines[line].strip().lstrip("# "))
    return " ".join(found)


def _opens_the_file(line: int, lines: list[str]) -> bool:
    """The file's own first words stand above no value."""
    return all(each.startswith("#") for each in lines[:line])


def _default(node: Any) -> str:  # noqa: ANN401 -- as above
    value = yaml.safe_load(yaml.serialize(node))
    return yaml.safe_dump(value, default_flow_style=True, width=1000).removesuffix("...\n").strip() or '""'
