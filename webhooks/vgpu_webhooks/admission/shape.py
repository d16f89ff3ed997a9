"""Reading raw objects of unknown shape: absent or the right type, else a refusal that names the field.

The API server sends well-formed objects; whoever else finds the port may not.
"""

from vgpu_kube.objects import Object

MAX_DEPTH = 64
"""Levels of nesting in a request; objects with managedFields stay below 32."""


REMEDY = "send the object as the API server stores it"


class MalformedError(ValueError):
    """A field is not what its kind's schema says; the message says which."""


def mapping(parent: Object, key: str) -> Object:
    """The object below ``key``, empty where there is none."""
    found = parent.get(key)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise MalformedError(f"expected an object in {key}, found {described(found)}; {REMEDY}")
    return found


def objects(parent: Object, key: str) -> list[Object]:
    """The list of objects below ``key``, empty where there is none."""
    found = parent.get(key)
    if found is None:
        return []
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise MalformedError(f"expected a list of objects in {key}, found {described(found)}; {REMEDY}")
    return found


def texts(parent: Object, key: str) -> list[str]:
    """The list of texts below ``key``, empty where there is none."""
    found = parent.get(key)
    if found is None:
        return []
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise MalformedError(f"expected a list of texts in {key}, found {described(found)}; {REMEDY}")
    return found


def text(parent: Object, key: str) -> str:
    """The text below ``key``, empty where there is none."""
    found = parent.get(key)
    if found is None:
        return ""
    if not isinstance(found, str):
        raise MalformedError(f"expected a text in {key}, found {described(found)}; {REMEDY}")
    return found


def bounded(root: object) -> None:
    """Raises MalformedError for what is nested deeper than any real request.

    Walks without recursion: the input decides how deep it goes.
    """
    level = [root]
    for _ in range(MAX_DEPTH):
        level = [child for parent in level for child in _children(parent) if isinstance(child, dict | list)]
        if not level:
            return
    raise MalformedError(f"expected at most {MAX_DEPTH} levels of nesting, found more; send a flatter object")


def described(found: object) -> str:
    """A found value in words, its type first, cut to what fits a message."""
    kinds = {dict: "an object", list: "a list", str: "the text", bool: "the boolean", type(None): "nothing"}
    kind = kinds.get(type(found), "the number")
    if isinstance(found, dict | list) or found is None:
        return kind
    return f"{kind} {shortened(str(found))!r}"


def shortened(found: str, limit: int = 80) -> str:
    """A text cut to ``limit`` characters."""
    return found if len(found) <= limit else f"{found[: limit - 3]}..."


def _children(parent: object) -> list[object]:
    return list(parent.values()) if isinstance(parent, dict) else parent if isinstance(parent, list) else []
