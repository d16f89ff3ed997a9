"""The models are held to the CRDs field by field: fields, types, bounds, defaults and enums."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from vgpu.api import claim, node, pool, schema

CRDS = Path(__file__).parents[3] / "crds"
KINDS = [
    ("vgpupools", "spec", pool.Spec),
    ("vgpupools", "status", pool.Status),
    ("vgpuclaims", "spec", claim.Spec),
    ("vgpuclaims", "status", claim.Status),
    ("vgpunodes", "spec", node.Spec),
    ("vgpunodes", "status", node.Status),
]
BOUNDS = [
    "type",
    "enum",
    "pattern",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
]
Schema = dict[str, Any]


def crd(plural: str) -> Schema:
    document: Schema = yaml.safe_load((CRDS / f"{plural}.yaml").read_text())
    return document


def crd_schema(plural: str) -> Schema:
    found: Schema = crd(plural)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return found


def plain(part: Schema, definitions: Schema) -> Schema:
    """One step of a model's schema without references and without the null that means absent."""
    if "$ref" in part:
        rest = {key: value for key, value in part.items() if key != "$ref"}
        referred: Schema = definitions[part["$ref"].rsplit("/", 1)[1]]
        return referred | rest
    if "anyOf" in part:
        (only,) = [choice for choice in part["anyOf"] if choice.get("type") != "null"]
        return plain(only, definitions)
    return part


def full_default(part: Schema) -> object:
    """What the API server fills in: a default, with the defaults below it."""
    default = part.get("default")
    if not isinstance(default, dict):
        return default
    below = {key: full_default(value) for key, value in part.get("properties", {}).items()}
    return {key: value for key, value in below.items() if value is not None} | default


def given(default: object) -> object:
    """A model's default as the API server has it: what is absent there is None here."""
    if not isinstance(default, dict):
        return default
    return {key: given(value) for key, value in default.items() if value is not None}


def bounds(part: Schema) -> Schema:
    found = {key: part[key] for key in BOUNDS if key in part}
    if "const" in part:
        found["enum"] = [part["const"]]
    return found


def assert_same(ours: Schema, theirs: Schema, *, definitions: Schema, at: str) -> None:
    ours = plain(ours, definitions)
    assert bounds(ours) == bounds(theirs), at
    assert given(ours.get("default")) == full_default(theirs), at
    assert set(ours.get("properties", {})) == set(theirs.get("properties", {})), at
    assert set(ours.get("required", [])) == set(theirs.get("required", [])), at
    for name, field in theirs.get("properties", {}).items():
        assert_same(ours["properties"][name], field, definitions=definitions, at=f"{at}.{name}")
    for below in ("items", "additionalProperties"):
        if below in theirs:
            assert_same(ours[below], theirs[below], definitions=definitions, at=f"{at}.{below}")


@pytest.mark.parametrize(("plural", "part", "model"), KINDS)
def test_a_model_has_the_fields_and_bounds_of_its_crd(
    plural: str, part: str, model: type[schema.Model]
) -> None:
    ours = model.model_json_schema(by_alias=True, mode="validation")
    theirs = crd_schema(plural)["properties"][part]

    # A part's own default is the converters' business: they read an absent spec or status as an empty one.
    assert_same(ours, theirs | {"default": None}, definitions=ours.get("$defs", {}), at=f"{plural}.{part}")


def walk(part: Schema, at: str) -> list[tuple[str, Schema]]:
    found = [(at, part)]
    for name, field in part.get("properties", {}).items():
        found += walk(field, f"{at}.{name}")
    for below in ("items", "additionalProperties"):
        if below in part:
            found += walk(part[below], f"{at}.{below}")
    return found


FIELDS = [
    (f"{plural}{at}", part)
    for plural in ("vgpupools", "vgpuclaims", "vgpunodes")
    for at, part in walk(crd_schema(plural), "")
    if at not in {".metadata", ".kind", ".apiVersion"}
]


@pytest.mark.parametrize(("at", "part"), FIELDS, ids=[at for at, _ in FIELDS])
def test_every_field_is_described_and_bounded(at: str, part: Schema) -> None:
    kind = part["type"]

    is_scalar_element = at.endswith((".items", ".additionalProperties")) and kind == "string"
    assert is_scalar_element or part.get("description", "").endswith(".")
    if kind == "string":
        assert "enum" in part or "maxLength" in part
    if kind == "integer":
        assert "minimum" in part
    if kind == "array":
        assert "maxItems" in part
        assert "x-kubernetes-list-type" in part
    if "additionalProperties" in part:
        assert "maxProperties" in part


@pytest.mark.parametrize(("at", "part"), FIELDS, ids=[at for at, _ in FIELDS])
def test_every_rule_has_a_message(at: str, part: Schema) -> None:
    for rule in part.get("x-kubernetes-validations", []):
        assert len(rule["message"]) > 20, at


def columns(plural: str, *, priority: int) -> list[str]:
    return [
        column["name"].upper()
        for column in crd(plural)["spec"]["versions"][0]["additionalPrinterColumns"]
        if column.get("priority", 0) <= priority
    ]


def test_kubectl_get_shows_the_columns_of_the_design() -> None:
    assert columns("vgpupools", priority=0) == [
        "READY",
        "NODES",
        "GPUS",
        "CLAIMS",
        "PENDING",
        "MEMORY",
        "ALLOCATED",
        "AGE",
    ]
    assert columns("vgpuclaims", priority=0) == [
        "POOL",
        "READY",
        "REASON",
        "PODS",
        "MEMORY",
        "COMPUTE",
        "AGE",
    ]


def test_wide_adds_floor_ceiling_replicas_and_status() -> None:
    wide = set(columns("vgpuclaims", priority=1)) - set(columns("vgpuclaims", priority=0))

    assert wide == {"FLOOR", "CEILING", "REPLICAS", "STATUS"}
