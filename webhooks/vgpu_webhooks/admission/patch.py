"""The JSON patch between an object and its changed copy, for copies that share what they did not change.

A general diff of a pod costs milliseconds; here everything that is one object in both is skipped unread.
Members are added, changed and removed, and lists only appended to, which is all that admission does.
"""

from vgpu_kube import patches
from vgpu_kube.objects import Object

Parts = tuple[str | int, ...]


def between(old: Object, new: Object) -> list[Object]:
    """The operations that turn ``old`` into ``new``; what ``new`` has not touched it shares with ``old``."""
    operations: list[Object] = []
    _compare(old, new, (), operations)
    return operations


def _compare(old: object, new: object, path: Parts, operations: list[Object]) -> None:
    if old is new:
        return
    if isinstance(old, dict) and isinstance(new, dict):
        _compare_members(old, new, path, operations)
    elif isinstance(old, list) and isinstance(new, list):
        _compare_items(old, new, path, operations)
    elif old != new:
        operations.append(patches.replace(patches.pointer(*path), new))


def _compare_members(old: Object, new: Object, path: Parts, operations: list[Object]) -> None:
    for key, value in new.items():
        if key in old:
            _compare(old[key], value, (*path, key), operations)
        else:
            operations.append(patches.add(patches.pointer(*path, key), value))
    operations += [patches.remove(patches.pointer(*path, key)) for key in old if key not in new]


def _compare_items(old: list[object], new: list[object], path: Parts, operations: list[Object]) -> None:
    for index, (before, after) in enumerate(zip(old, new, strict=False)):
        _compare(before, after, (*path, index), operations)
    operations += [
        patches.add(patches.pointer(*path, index), new[index]) for index in range(len(old), len(new))
    ]
