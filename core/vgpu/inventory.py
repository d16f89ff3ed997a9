"""What a node's devices can promise, and how much of it is free.

A pure reading of one node: which of its devices belong to a pool, what each may promise after reserve and
overcommit, and what its slices charge. Quotas and choices among nodes live elsewhere.
"""

import fnmatch
from collections.abc import Iterable
from dataclasses import dataclass

from vgpu import values


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceRoom:
    """One usable device: what it may promise in all, and what of that is free."""

    uuid: str
    capacity: values.Amounts
    free: values.Amounts
    model: str = ""

    @property
    def free_share(self) -> float:
        """The free part of the capacity, 0 to 1, the mean of memory and compute."""
        return 0.5 * (
            _share(self.free.memory_bytes, self.capacity.memory_bytes)
            + _share(self.free.compute_percent, self.capacity.compute_percent)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRoom:
    """The usable devices of one node for one pool; ``unusable`` counts those cordoned or unhealthy.

    ``cpu_milli`` and ``memory_bytes`` are the node's free CPU and host memory, None where not known.
    ``pod_sizes`` are the sizes of the GPU pods that live there: how many whole GPUs, 0 for a slice of one.
    """

    node: str
    devices: tuple[DeviceRoom, ...]
    unusable: int = 0
    cpu_milli: int | None = None
    memory_bytes: int | None = None
    pod_sizes: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """Devices reserved for a request that is not in the ledger yet."""

    request: values.Request
    node: str
    device_uuids: tuple[str, ...]
    expires_at: float


def selects(selector: values.Selector, labels: Iterable[tuple[str, str]]) -> bool:
    """Whether a label selector selects an object with these labels."""
    found = dict(labels)
    return all(found.get(key) == wanted for key, wanted in selector.match_labels.items()) and all(
        _holds(expression, found) for expression in selector.expressions
    )


def members(pool: values.Pool, node: values.Node) -> tuple[values.Device, ...]:
    """The devices of ``node`` that belong to ``pool``, healthy or not."""
    if not selects(pool.node_selector, node.labels.items()):
        return ()
    return tuple(device for device in node.devices if _model_matches(pool, device))


def capacity(pool: values.Pool, device: values.Device) -> values.Amounts:
    """What a device may promise: memory after the reserve, compute of one GPU, both times the overcommit."""
    usable = max(0, device.memory_bytes - pool.reserved_memory_bytes)
    return values.Amounts(
        memory_bytes=usable * pool.memory_overcommit_percent // 100,
        compute_percent=pool.compute_overcommit_percent,
    )


def charged(slice_: values.Slice, enforced: values.Enforced | None) -> values.Amounts:
    """What a slice counts against each of its devices.

    Memory that a shrink has not freed yet is not free: until the node has confirmed the slice's revision
    the most that may be in force counts, then the larger of allocated and enforced. Compute shrinks at once.
    """
    memory = slice_.held_memory_bytes
    if enforced is not None and enforced.revision >= slice_.revision:
        memory = max(slice_.allocated.memory_bytes, enforced.memory_bytes)
    return values.Amounts(memory_bytes=memory, compute_percent=slice_.allocated.compute_percent)


def charges(node: values.Node, promises: Iterable[Promise] = ()) -> dict[str, values.Amounts]:
    """What each device has given away, by UUID: the node's slices and the promises not yet among them."""
    given: dict[str, values.Amounts] = {}
    for slice_ in node.slices.values():
        amount = charged(slice_, node.enforced.get(slice_.id))
        for uuid in slice_.device_uuids:
            given[uuid] = given.get(uuid, values.NOTHING) + amount
    for promise in promises:
        if promise.request.slice_id not in node.slices:
            for uuid in promise.device_uuids:
                given[uuid] = given.get(uuid, values.NOTHING) + promise.request.requests
    return given


def room(pool: values.Pool, node: values.Node, promises: Iterable[Promise] = ()) -> NodeRoom:
    """The room that ``pool`` has on ``node``: its usable devices in the agent's order, with what is free."""
    mine = members(pool, node)
    usable = tuple(device for device in mine if device.healthy and device.uuid not in node.cordoned_devices)
    given = charges(node, promises)
    return NodeRoom(
        node=node.name,
        devices=tuple(
            _device_room(pool, device, given.get(device.uuid, values.NOTHING)) for device in usable
        ),
        unusable=len(mine) - len(usable),
    )


def total_capacity(pool: values.Pool, nodes: Iterable[values.Node]) -> values.Amounts:
    """What the pool may promise on all healthy devices of ``nodes`` together."""
    return sum(
        (capacity(pool, device) for node in nodes for device in members(pool, node) if device.healthy),
        values.NOTHING,
    )


def _device_room(pool: values.Pool, device: values.Device, given: values.Amounts) -> DeviceRoom:
    promised = capacity(pool, device)
    return DeviceRoom(uuid=device.uuid, capacity=promised, free=promised - given, model=device.model)


def _model_matches(pool: values.Pool, device: values.Device) -> bool:
    return not pool.device_models or any(
        fnmatch.fnmatchcase(device.model, glob) for glob in pool.device_models
    )


def _holds(expression: values.Expression, labels: dict[str, str]) -> bool:
    present = expression.key in labels
    match expression.operator:
        case values.Operator.EXISTS:
            return present
        case values.Operator.DOES_NOT_EXIST:
            return not present
        case values.Operator.IN:
            return present and labels[expression.key] in expression.values
        case values.Operator.NOT_IN:
            return not present or labels[expression.key] not in expression.values


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
