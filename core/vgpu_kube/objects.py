"""Reading the metadata every raw object has; nothing of any one kind."""

from typing import Any, TypeAlias

Object: TypeAlias = dict[str, Any]
Key: TypeAlias = tuple[str | None, str]
"""Namespace (``None`` for cluster-scoped objects) and name."""


def key(raw: Object) -> Key:
    """The namespace and name of an object."""
    metadata = raw["metadata"]
    return metadata.get("namespace"), metadata["name"]


def uid(raw: Object) -> str:
    """The identity of an object, which a successor of the same name does not share."""
    found: str = raw["metadata"]["uid"]
    return found


def resource_version(raw: Object) -> str:
    """The version of an object, for watches and preconditions."""
    found: str = raw["metadata"]["resourceVersion"]
    return found


def revision(resource_version: str) -> int:
    """A resourceVersion as the ordered number it is.

    Comparing versions of one kind of resource as integers is documented API from Kubernetes 1.35 on
    (KEP-5504) and has held for every API server on etcd before.
    """
    try:
        return int(resource_version)
    except ValueError:
        raise ValueError(
            f"expected a decimal resourceVersion, found {resource_version!r}: "
            "use an API server that orders its versions"
        ) from None
