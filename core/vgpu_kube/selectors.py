"""Label and field selectors in Kubernetes' text form, answered for an object in hand.

For caches that fold in what they did not receive through a selection, and for the in-memory cluster.
"""

import re
from collections.abc import Callable, Mapping

from vgpu_kube.objects import Object

Requirement = Callable[[Mapping[str, str]], bool]

_SET = re.compile(r"^(?P<key>[^\s!=,()]+)\s+(?P<verb>in|notin)\s*\((?P<values>[^()]*)\)$")
_EQUAL = re.compile(r"^(?P<key>[^\s!=,()]+)\s*(?P<verb>==|=|!=)\s*(?P<value>[^\s=,()]*)$")
_EXISTS = re.compile(r"^(?P<absent>!?)\s*(?P<key>[^\s!=,()]+)$")
_COMMA_OUTSIDE_PARENTHESES = re.compile(r",(?![^(]*\))")


def selects(raw: Object, *, labels: str | None = None, fields: str | None = None) -> bool:
    """True when both selectors, where given, select the object.

    Raises ValueError for a selector that is none.
    """
    return _labels_match(raw, labels) and _fields_match(raw, fields)


def _labels_match(raw: Object, selector: str | None) -> bool:
    if not selector:
        return True
    found = raw["metadata"].get("labels") or {}
    terms = _COMMA_OUTSIDE_PARENTHESES.split(selector)
    return all(_requirement(term.strip())(found) for term in terms)


def _requirement(term: str) -> Requirement:
    if match := _SET.match(term):
        return _set(match["key"], match["verb"], {value.strip() for value in match["values"].split(",")})
    if match := _EQUAL.match(term):
        return _equal(match["key"], match["verb"], match["value"])
    if match := _EXISTS.match(term):
        return _exists(match["key"], wanted=not match["absent"])
    raise ValueError(f"expected a selector such as key=value, key in (a, b) or !key, found {term!r}")


def _set(key: str, verb: str, values: set[str]) -> Requirement:
    if verb == "in":
        return lambda labels: labels.get(key) in values
    return lambda labels: labels.get(key) not in values


def _equal(key: str, verb: str, value: str) -> Requirement:
    if verb == "!=":
        return lambda labels: labels.get(key) != value
    return lambda labels: labels.get(key) == value


def _exists(key: str, *, wanted: bool) -> Requirement:
    return lambda labels: (key in labels) is wanted


def _fields_match(raw: Object, selector: str | None) -> bool:
    terms = [term.strip() for term in selector.split(",")] if selector else []
    return all(_field_matches(raw, term) for term in terms)


def _field_matches(raw: Object, term: str) -> bool:
    match = _EQUAL.match(term)
    if match is None:
        raise ValueError(f"expected a field selector such as metadata.name=value, found {term!r}")
    return (_field(raw, match["key"]) == match["value"]) is (match["verb"] != "!=")


def _field(raw: Object, path: str) -> str:
    """The text at a dotted path, empty where there is nothing, as the API server sees it."""
    value: object = raw
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return "" if value is None else str(value)
