"""Amounts as they stand in every object: ``{memory: 16Gi, computePercent: 25}``."""

import functools
from typing import Any

from vgpu import values
from vgpu.api import quantity


def from_json(raw: Any) -> values.Amounts:  # noqa: ANN401 - raw JSON, checked here
    """The amounts of an object such as ``{"memory": "16Gi", "computePercent": 25}``.

    Raises KeyError, TypeError or ValueError where it is none; equal amounts may be one value.
    """
    return _amounts(raw["memory"], raw["computePercent"])


@functools.lru_cache(maxsize=65536)
def _amounts(memory: str, compute_percent: int) -> values.Amounts:
    if type(compute_percent) is not int:
        raise TypeError(
            f"expected an integer of percent, found {compute_percent!r}; write it without a point"
        )
    return values.Amounts(memory_bytes=quantity.parse_bytes(memory), compute_percent=compute_percent)


def to_json(amounts: values.Amounts) -> dict[str, Any]:
    """The object that stands for these amounts, its memory in the canonical text."""
    return {
        "memory": quantity.format_bytes(amounts.memory_bytes),
        "computePercent": amounts.compute_percent,
    }
