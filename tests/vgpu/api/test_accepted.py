"""An object that the API server accepted never makes a converter raise; what is no object gets a sentence."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from vgpu.api import InvalidObject, claim, node, pool, quantity

HERE = Path(__file__).parent
CRDS = HERE.parents[2] / "crds"
EXAMPLES: list[dict[str, Any]] = yaml.safe_load((HERE / "examples.yaml").read_text())
CONVERTERS = {"VGPUPool": pool.to_values, "VGPUClaim": claim.to_values, "VGPUNode": node.to_values}

texts = st.text(alphabet="abcdefgh-0123456789", min_size=1, max_size=20)


@pytest.mark.parametrize(
    "case", [each for each in EXAMPLES if each["expected"] == "ok"], ids=lambda c: c["name"]
)
def test_what_the_api_server_takes_becomes_values(case: dict[str, Any]) -> None:
    CONVERTERS[case["manifest"]["kind"]](case["manifest"])


@pytest.mark.parametrize("part", [None, [], 5, "words", {}, {"metadata": None}, {"metadata": {"name": 5}}])
@pytest.mark.parametrize("kind", CONVERTERS)
def test_what_is_no_object_is_refused_with_a_sentence(kind: str, part: Any) -> None:
    with pytest.raises(InvalidObject, match=rf"{kind} .*: metadata.*: expected .*, found .*; correct it"):
        CONVERTERS[kind](part)


def accepted(part: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Objects that a CRD's schema accepts; the rules in CEL for memory are met as well."""
    if "enum" in part:
        return st.sampled_from(part["enum"])
    match part["type"]:
        case "object":
            return accepted_objects(part)
        case "array":
            return st.lists(accepted(part["items"]), min_size=part.get("minItems", 0), max_size=2)
        case "string":
            return accepted_texts(part)
        case "integer":
            return st.integers(part["minimum"], part.get("maximum", 2**62))
    return st.booleans()


def accepted_objects(part: dict[str, Any]) -> st.SearchStrategy[Any]:
    if "additionalProperties" in part:
        return st.dictionaries(texts, accepted(part["additionalProperties"]), max_size=2)
    fields = {name: accepted(field) for name, field in part.get("properties", {}).items()}
    required = {name: fields.pop(name) for name in part.get("required", [])}
    return st.fixed_dictionaries(required, optional=fields)


def accepted_texts(part: dict[str, Any]) -> st.SearchStrategy[str]:
    if part.get("format") == "date-time":
        return st.datetimes().map(lambda t: t.replace(year=2026).isoformat() + "Z")
    if "pattern" in part:
        return st.from_regex(re.compile(part["pattern"], re.ASCII), fullmatch=True)
    if "x-kubernetes-validations" in part:
        return written(part["x-kubernetes-validations"][0]["rule"])
    return st.text(min_size=part.get("minLength", 0), max_size=min(part["maxLength"], 20))


def written(rule: str) -> st.SearchStrategy[str]:
    """Texts that the form in a CEL rule lets through and that lie within its bounds."""
    (form,) = re.findall(r"self\.matches\('(.*?)'\)", rule)
    texts_of_the_form = st.from_regex(re.compile(form, re.ASCII), fullmatch=True)
    if "quantity" not in rule:
        return texts_of_the_form
    (most,) = re.findall(r"compareTo\(quantity\('(\w+)'\)\) <= 0", rule)
    least = 1 if "isGreaterThan(quantity('0'))" in rule else 0
    return texts_of_the_form.filter(
        lambda text: len(text) <= 24 and least <= quantity.parse_bytes(text) <= quantity.parse_bytes(most)
    )


def crd_part(plural: str, part: str) -> dict[str, Any]:
    document = yaml.safe_load((CRDS / f"{plural}.yaml").read_text())
    found: dict[str, Any] = document["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"][part]
    return found


@settings(deadline=None)
@given(spec=accepted(crd_part("vgpunodes", "spec")), status=accepted(crd_part("vgpunodes", "status")))
def test_no_node_that_the_schema_accepts_is_refused(spec: Any, status: Any) -> None:
    raw = {"metadata": {"name": "n"}, "spec": spec, "status": status}

    found = node.to_values(raw)

    assert set(found.slices) == set(spec.get("slices", {}))
    assert set(found.enforced) == set(status.get("slices", {}))


@settings(deadline=None)
@given(accepted(crd_part("vgpupools", "spec")))
def test_no_pool_that_the_schema_accepts_is_refused(spec: Any) -> None:
    pool.to_values({"metadata": {"name": "p"}, "spec": spec})


@settings(deadline=None)
@given(accepted(crd_part("vgpuclaims", "spec")))
def test_no_claim_that_the_schema_accepts_is_refused(spec: Any) -> None:
    spec["resources"].pop("limits", None)  # limits below requests are CEL's to refuse

    claim.to_values({"metadata": {"name": "c", "namespace": "t", "uid": "u"}, "spec": spec})
