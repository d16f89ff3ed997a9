"""The API's page: every field of every kind, out of the schemas that the API server serves."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

CRDS = Path(__file__).parents[2] / "crds"

Schema = Mapping[str, Any]


def page() -> str:
    """The page, kinds in the order in which users meet them."""
    kinds = [
        yaml.safe_load((CRDS / f"{name}.yaml").read_text())
        for name in ("vgpupools", "vgpuclaims", "vgpunodes")
    ]
    return "# API reference\n\n`kubectl explain` says the same.\n\n" + "\n".join(map(_kind, kinds))


def _kind(crd: Schema) -> str:
    names, version = crd["spec"]["names"], crd["spec"]["versions"][0]
    schema = version["schema"]["openAPIV3Schema"]
    scope = "namespaced" if crd["spec"]["scope"] == "Namespaced" else "cluster-scoped"
    head = f"## {names['kind']}\n\n`{crd['spec']['group']}/{version['name']}`, {scope}, short names: "
    head += ", ".join(f"`{each}`" for each in names.get("shortNames", [])) or "none"
    parts = [head, _text(schema)]
    parts += [
        _section(part, schema["properties"][part])
        for part in ("spec", "status")
        if part in schema["properties"]
    ]
    return "\n\n".join(parts) + "\n"


def _section(name: str, schema: Schema) -> str:
    rows = "\n".join(_row(path, field, required=required) for path, field, required in _fields(name, schema))
    table = f"| field | type | meaning |\n|---|---|---|\n{rows}"
    rules = [f"* {rule['message']}" for rule in schema.get("x-kubernetes-validations", ())]
    return f"### {name}\n\n{table}" + ("\n\nRules:\n\n" + "\n".join(rules) if rules else "")


def _fields(path: str, schema: Schema) -> Iterator[tuple[str, Schema, bool]]:
    """All fields below a schema, depth first; lists end in [], maps in {}."""
    needed = set(schema.get("required", ()))
    for name, field in schema.get("properties", {}).items():
        below, inner = f"{path}.{name}", field
        yield below, field, name in needed
        while "items" in inner or isinstance(inner.get("additionalProperties"), Mapping):
            below += "[]" if "items" in inner else "{}"
            inner = inner.get("items") or inner["additionalProperties"]
        yield from _fields(below, inner)


def _row(path: str, field: Schema, *, required: bool) -> str:
    notes = [_text(field)]
    if "default" in field:
        notes.append(f"Default: `{_written(field['default'])}`.")
    if "enum" in field:
        notes.append("One of " + ", ".join(f"`{each}`" for each in field["enum"]) + ".")
    if bounds := _bounds(field):
        notes.append(bounds)
    if required:
        notes.append("Required.")
    return f"| `{path}` | {_type(field)} | {' '.join(filter(None, notes))} |"


def _type(field: Schema) -> str:
    if field.get("x-kubernetes-int-or-string"):
        return "integer or text"
    if "items" in field:
        return f"list of {_type(field['items'])}"
    if isinstance(field.get("additionalProperties"), Mapping):
        return f"map of {_type(field['additionalProperties'])}"
    return str(field.get("type", "any"))


def _bounds(field: Schema) -> str:
    least, most = field.get("minimum"), field.get("maximum")
    if least is not None and most is not None:
        return f"{least} to {most}."
    if least is not None:
        return f"At least {least}."
    return "" if most is None else f"At most {most}."


def _written(value: object) -> str:
    return yaml.safe_dump(value, default_flow_style=True).replace("...", "").strip()


def _text(field: Schema) -> str:
    return " ".join(str(field.get("description", "")).split()).replace("|", "\\|")
