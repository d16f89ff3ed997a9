"""What the platform's kinds are called, and which fields they have: read off the definitions in crds/."""

import pathlib
import re
from collections.abc import Iterator
from typing import Any

import yaml

from vgpu.api import conditions

ROOT = pathlib.Path(__file__).parents[3]
DEFINITIONS: dict[str, Any] = {
    each["metadata"]["name"]: each
    for path in sorted((ROOT / "crds").glob("*.yaml"))
    for each in [yaml.safe_load(path.read_text())]
}
CONDITIONS = {
    "vgpuclaims": {each.value for each in conditions.ClaimCondition},
    "vgpupools": {each.value for each in conditions.PoolCondition},
}
STEP = re.compile(r"\.(\w+)|\[(\d+|\*|\?\(@\.\w+==[^)]*\))\]")


def _spellings() -> Iterator[tuple[str, Any]]:
    for name, each in DEFINITIONS.items():
        called = each["spec"]["names"]
        for word in (called["plural"], called["singular"], name, *called.get("shortNames", ())):
            yield word, each


BY_WORD = dict(_spellings())
CATEGORIES = {word for each in DEFINITIONS.values() for word in each["spec"]["names"].get("categories", ())}


def check_field(definition: Any, path: str) -> None:
    """A path such as ``.status.allocations[0].memory`` leads somewhere; labels and the like are free."""
    [version] = definition["spec"]["versions"]
    schema, read = version["schema"]["openAPIV3Schema"], 0
    for step in STEP.finditer(path):
        assert step.start() == read, f"{path}: not understood from {path[read:]} on"
        read, name = step.end(), step.group(1)
        if name in {"metadata", "apiVersion", "kind"}:
            return
        schema = _below(schema, name)
        assert schema is not None, f"{path} of {definition['metadata']['name']}: there is no {step.group()}"
    assert read == len(path), f"{path}: not understood from {path[read:]} on"


def _below(schema: Any, name: str | None) -> Any:
    if name is None:
        return schema.get("items")
    return schema.get("properties", {}).get(name) or schema.get("additionalProperties")
