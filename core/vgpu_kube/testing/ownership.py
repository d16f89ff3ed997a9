"""Server-side apply, simplified: which manager set which leaf of an object.

Lists are atomic but for those whose elements the project's kinds and Kubernetes' conditions merge by a
key. Writers other than apply own nothing here, so a plain patch never causes an apply to conflict.
"""

import copy
import itertools
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

from vgpu_kube import errors
from vgpu_kube.objects import Object

LIST_KEYS = {"conditions": "type", "quotas": "namespace", "devices": "uuid", "links": "uuid", "pods": "uid"}
"""Lists merged element by element, and the member that tells their elements apart."""


class Element(NamedTuple):
    """An element of a merged list, by its key."""

    member: str
    value: Any


Path: TypeAlias = tuple[str | Element, ...]
Owners: TypeAlias = dict[str, set[Path]]
"""Manager to the leaves it applied last."""

_IDENTITY = {("apiVersion",), ("kind",), ("metadata", "name"), ("metadata", "namespace")}


def apply(raw: Object, body: Mapping[str, Any], manager: str, owners: Owners, *, force: bool) -> Object:
    """Changes ``raw`` and ``owners`` as an apply by ``manager`` does, and returns ``raw``."""
    wanted = {path: value for path, value in _leaves(body) if path not in _IDENTITY}
    contested = _contested(raw, wanted, manager, owners)
    if contested and not force:
        raise errors.Conflict(
            409, "Conflict", f"apply failed with {len(contested)} conflicts: {sorted(map(str, contested))}"
        )
    for paths in (paths for other, paths in owners.items() if other != manager):
        paths -= contested
    given_up = owners.get(manager, set()) - wanted.keys() - _owned_by_others(manager, owners)
    for path in sorted(given_up, key=_names_its_element):
        _remove(raw, path)
    for path, value in wanted.items():
        _set(raw, path, value)
    owners[manager] = {*wanted}
    return raw


def _contested(raw: Object, wanted: Mapping[Path, Any], manager: str, owners: Owners) -> set[Path]:
    others = _owned_by_others(manager, owners)
    return {path for path, value in wanted.items() if path in others and _get(raw, path) != value}


def _owned_by_others(manager: str, owners: Owners) -> set[Path]:
    return {path for other, paths in owners.items() if other != manager for path in paths}


def _leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:  # noqa: ANN401 -- any JSON value
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from _leaves(inner, (*path, name))
    elif isinstance(value, list) and path and (member := LIST_KEYS.get(str(path[-1]))) and value:
        for inner in value:
            yield from _leaves(inner, (*path, Element(member, inner[member])))
    else:
        yield path, value


def _step(container: Any, part: str | Element) -> Any:  # noqa: ANN401 -- any JSON value
    """What is at one step of a path, None where nothing is."""
    if isinstance(part, Element):
        return next((item for item in container or () if item.get(part.member) == part.value), None)
    return container.get(part) if isinstance(container, dict) else None


def _get(raw: Object, path: Path) -> Any:  # noqa: ANN401 -- any JSON value
    found: Any = raw
    for part in path:
        found = _step(found, part)
    return found


def _set(raw: Object, path: Path, value: Any) -> None:  # noqa: ANN401 -- any JSON value
    container: Any = raw
    for part, following in itertools.pairwise(path):
        container = _enter(container, part, following)
    container[path[-1]] = copy.deepcopy(value)


def _enter(container: Any, part: str | Element, following: str | Element) -> Any:  # noqa: ANN401 -- any JSON value
    """One step down, made where it is missing."""
    found = _step(container, part)
    if found is not None:
        return found
    made: Any = [] if isinstance(following, Element) else {}
    if isinstance(part, Element):
        container.append(made)
        made[part.member] = part.value
    else:
        container[part] = made
    return made


def _remove(raw: Object, path: Path) -> None:
    """Removes a leaf, and what it leaves empty above it."""
    container = _get(raw, path[:-1])
    if isinstance(path[-1], Element):
        container[:] = [item for item in container if item]
    elif container is not None:
        container.pop(path[-1], None)
    if container is not None and not container and len(path) > 1:
        _remove(raw, path[:-1])


def _names_its_element(path: Path) -> bool:
    """True for the leaf by which its element is found, which therefore has to go last."""
    return len(path) > 1 and isinstance(path[-2], Element) and path[-2].member == path[-1]
