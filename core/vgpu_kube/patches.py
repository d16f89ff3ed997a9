"""JSON patches: their operations, and writes that read again and decide again.

What to write is decided by the function the caller passes in.
"""

from collections.abc import Callable
from typing import Any

from vgpu_kube import errors, objects
from vgpu_kube.objects import Object
from vgpu_kube.protocol import Kube, Op, Ops
from vgpu_kube.resources import Resource


def pointer(*parts: str | int) -> str:
    """A JSON pointer (RFC 6901), its parts escaped: ``metadata/annotations`` keys hold slashes."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


def test(path: str, value: Any) -> Op:  # noqa: ANN401 -- any JSON value
    """The write happens only where this value stands at the path."""
    return {"op": "test", "path": path, "value": value}


def add(path: str, value: Any) -> Op:  # noqa: ANN401 -- any JSON value
    """Sets a member of an object, or inserts into a list (``-`` appends)."""
    return {"op": "add", "path": path, "value": value}


def replace(path: str, value: Any) -> Op:  # noqa: ANN401 -- any JSON value
    """Sets what must be there already."""
    return {"op": "replace", "path": path, "value": value}


def remove(path: str) -> Op:
    """Removes what must be there."""
    return {"op": "remove", "path": path}


def unchanged(raw: Object) -> Op:
    """The write happens only on this very version of the object."""
    return test(pointer("metadata", "resourceVersion"), objects.resource_version(raw))


async def rewrite(
    kube: Kube,
    resource: Resource,
    name: str,
    decide: Callable[[Object], Ops | None],
    *,
    namespace: str | None = None,
    subresource: str | None = None,
    attempts: int = 5,
    initial: Object | None = None,
) -> Object:
    """The object after the patch that ``decide`` makes of its present state, or as read where that is None.

    ``initial`` saves the first read; a state that is out of date costs one attempt, provided that the
    patch begins with a ``test``. Raises Conflict when all attempts met a newer object, and whatever
    ``decide`` raises.
    """
    raw = initial
    for attempt in range(1, attempts + 1):
        if raw is None:
            raw = await kube.get(resource, name, namespace)
        if not (ops := decide(raw)):
            return raw
        try:
            return await kube.patch_json(resource, name, ops, namespace, subresource)
        except errors.Conflict:
            if attempt == attempts:
                raise
            raw = None
    raise ValueError(f"expected at least one attempt, found attempts={attempts}")
