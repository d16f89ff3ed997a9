"""Whether a claim could ever be placed, above all on a pool's hardware, were it all free.

Pure. A no here is for ever; whether there is room right now is for placement to say.
"""

from collections.abc import Iterable
from typing import NamedTuple, TypeAlias

from vgpu import inventory, values
from vgpu.placement import selection


class Kind(NamedTuple):
    """A device as far as claims can tell: what it may promise, and its model."""

    promises: values.Amounts
    model: str


Shape: TypeAlias = tuple[Kind, ...]
"""The devices that one node has of a pool, in a fixed order: equal nodes, equal shapes."""


def shapes(pool: values.Pool, nodes: Iterable[values.Node]) -> frozenset[Shape]:
    """The different kinds of nodes a pool has, sick and cordoned devices included: they come back."""
    found = (tuple(_kinds(pool, node)) for node in nodes)
    return frozenset(shape for shape in found if shape)


def contradiction(claim: values.Claim) -> str | None:
    """Why no device in the world can meet the claim's deviceSelector; None where one could."""
    found = selection.contradiction(claim.constraints.devices)
    if found is None:
        return None
    said = " and ".join(selection.in_words(each) for each in found)
    return (
        f"expected deviceSelector.matchExpressions that some device can meet, found {said}, "
        "which exclude each other; remove or widen one of them"
    )


def unknown_models(claim: values.Claim, pool: values.Pool, hardware: frozenset[Shape]) -> str | None:
    """A warning where the pool has devices and the claim accepts the model of none."""
    there = {kind.model for shape in hardware for kind in shape}
    if not there or selection.models(claim.constraints.devices, there):
        return None
    return (
        f"no device of pool {pool.name!r} is of a model that the deviceSelector accepts; pods will wait for "
        f"one. It has {', '.join(sorted(there))}"
    )


def objection(claim: values.Claim, pool: values.Pool, hardware: frozenset[Shape]) -> str | None:
    """Why no node of the pool can ever hold a slice of this claim; None where one can, or none is known."""
    if not hardware or any(_holds(shape, claim) for shape in hardware):
        return None
    largest = _largest(hardware)
    if not largest.covers(claim.requests):
        return (
            f"expected resources.requests that fit the largest device of pool {pool.name!r} "
            f"({largest}), found {claim.requests}; lower the requests or choose another pool"
        )
    most = max(_count(shape, claim.requests) for shape in hardware)
    return (
        f"expected a deviceCount of at most {most}, as many devices of a node of pool {pool.name!r} fit "
        f"{claim.requests}, found {claim.device_count}; lower it or choose another pool"
    )


def unreachable_limit(claim: values.Claim, pool: values.Pool, hardware: frozenset[Shape]) -> str | None:
    """A warning where the ceiling lies above what any device of the pool may promise."""
    if not hardware or (largest := _largest(hardware)).covers(claim.limits):
        return None
    return (
        f"resources.limits of {claim.limits} lie above the largest device of pool {pool.name!r} "
        f"({largest}); slices will not grow beyond that"
    )


def _kinds(pool: values.Pool, node: values.Node) -> list[Kind]:
    found = [Kind(inventory.capacity(pool, device), device.model) for device in inventory.members(pool, node)]
    return sorted(found, key=lambda each: (_size(each.promises), each.model))


def _size(amounts: values.Amounts) -> tuple[int, int]:
    return amounts.memory_bytes, amounts.compute_percent


def _holds(shape: Shape, claim: values.Claim) -> bool:
    return _count(shape, claim.requests) >= claim.device_count


def _count(shape: Shape, requests: values.Amounts) -> int:
    return sum(each.promises.covers(requests) for each in shape)


def _largest(hardware: frozenset[Shape]) -> values.Amounts:
    """The largest device by memory; all devices of a pool may promise the same compute."""
    return max((each.promises for shape in hardware for each in shape), key=_size)
