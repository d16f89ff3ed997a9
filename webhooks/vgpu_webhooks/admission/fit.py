"""Whether a claim could ever be placed on a pool's hardware, were it all free.

Pure. A no here is for ever; whether there is room right now is for placement to say.
"""

from collections.abc import Iterable
from typing import TypeAlias

from vgpu import inventory, values

Shape: TypeAlias = tuple[values.Amounts, ...]
"""What each device that one node has of a pool may promise, in a fixed order: equal nodes, equal shapes."""


def shapes(pool: values.Pool, nodes: Iterable[values.Node]) -> frozenset[Shape]:
    """The different kinds of nodes a pool has, sick and cordoned devices included: they come back."""
    found = (tuple(_capacities(pool, node)) for node in nodes)
    return frozenset(shape for shape in found if shape)


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


def _capacities(pool: values.Pool, node: values.Node) -> list[values.Amounts]:
    found = [inventory.capacity(pool, device) for device in inventory.members(pool, node)]
    return sorted(found, key=lambda each: (each.memory_bytes, each.compute_percent))


def _holds(shape: Shape, claim: values.Claim) -> bool:
    return _count(shape, claim.requests) >= claim.device_count


def _count(shape: Shape, requests: values.Amounts) -> int:
    return sum(each.covers(requests) for each in shape)


def _largest(hardware: frozenset[Shape]) -> values.Amounts:
    """The largest device by memory; all devices of a pool may promise the same compute."""
    return max(
        (each for shape in hardware for each in shape),
        key=lambda each: (each.memory_bytes, each.compute_percent),
    )
