"""What a pool is held to beyond its schema: label syntax, and one default pool in the cluster.

Pure. Pools that overlap are the operator's to report: they come about by labels of nodes as well.
"""

import re
from collections.abc import Iterable

from vgpu import values
from vgpu.api import names

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_PREFIX = re.compile(r"(?=.{1,253}\Z)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")


def objections(pool: values.Pool, others: Iterable[values.Pool]) -> list[str]:
    """Why this pool cannot be; empty where it can. ``others`` may hold it itself, as it was."""
    return [*_selector_objections(pool.node_selector), *_default_objections(pool, others)]


def _selector_objections(selector: values.Selector) -> list[str]:
    labels = selector.match_labels.items()
    keys = [*selector.match_labels, *(each.key for each in selector.expressions)]
    found = [value for _, value in labels] + [value for each in selector.expressions for value in each.values]
    return [
        *(
            f"expected a label key such as nvidia.com/gpu.product in spec.nodeSelector, "
            f"found {key!r}; correct it"
            for key in keys
            if not _is_key(key)
        ),
        *(
            f"expected a label value of at most 63 letters, digits, '-', '_' and '.' in spec.nodeSelector, "
            f"found {value!r}; correct it, no node can have it"
            for value in found
            if value and not _NAME.fullmatch(value)
        ),
    ]


def _default_objections(pool: values.Pool, others: Iterable[values.Pool]) -> list[str]:
    taken = sorted(other.name for other in others if other.is_default and other.name != pool.name)
    if not (pool.is_default and taken):
        return []
    return [
        f"expected one default pool, found {taken[0]!r} to be it already; take the annotation "
        f"{names.DEFAULT_POOL_ANNOTATION} from {taken[0]!r} first"
    ]


def _is_key(key: str) -> bool:
    prefix, slash, name = key.rpartition("/")
    return bool(_NAME.fullmatch(name)) and (not slash or bool(_PREFIX.fullmatch(prefix)))
