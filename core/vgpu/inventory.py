"""What a node's devices can promise, and how much of it is free.

A pure reading of one node: which of its devices belong to a pool, what each may promise after reserve and
overcommit, and what its slices charge. Quotas and choices among nodes live elsewhere.
"""

import fnmatch
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from vgpu import values

SILENT_SECONDS = 180.0
"""An agent that has not written for so long is silent; it writes every 60 s."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupMember:
    """A claim whose slice keeps those of other claims of its namespace and exclusion group off a device."""

    namespace: str
    group: str
    claim_uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceRoom:
    """One usable device: what it may promise in all, what of that is free, and who is there.

    ``occupied`` says that anybody holds a part of it; of an exclusive holder nothing is left free.
    """

    uuid: str
    capacity: values.Amounts
    free: values.Amounts
    model: str = ""
    numa_node: int | None = None
    links: tuple[values.Link, ...] = ()
    occupied: bool = False
    groups: frozenset[GroupMember] = frozenset()

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

    ``cordoned`` are those of them that are healthy. A ``silent`` node's agent has not written for too long:
    nothing new goes there, so its devices are left out.
    ``cpu_milli`` and ``memory_bytes`` are the CPU and host memory that the node's slices leave, None where it
    is not known what it offers. Pods without a slice are not seen here: kube-scheduler counts them.
    ``pod_sizes`` are the sizes of the GPU pods that live there: how many whole GPUs, 0 for a slice of one.
    """

    node: str
    devices: tuple[DeviceRoom, ...]
    unusable: int = 0
    cordoned: int = 0
    silent: bool = False
    cpu_milli: int | None = None
    memory_bytes: int | None = None
    pod_sizes: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """Devices reserved for a request that is not in the ledger yet.

    ``taken`` is what it takes of each where that is not the floor it asks for. ``ahead`` says that the room
    is not there yet: pods that are leaving still hold it.
    """

    request: values.Request
    node: str
    device_uuids: tuple[str, ...]
    expires_at: float
    taken: values.Amounts | None = None
    ahead: bool = False

    @property
    def amount(self) -> values.Amounts:
        """What it takes of each of its devices."""
        return self.request.requests if self.taken is None else self.taken

    @property
    def total(self) -> values.Amounts:
        """What it takes of all its devices together."""
        return self.amount.times(len(self.device_uuids))


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


def taken(
    pool: values.Pool, node: values.Node, request: values.Request, device_uuids: Collection[str]
) -> values.Amounts:
    """What a request takes of each of these devices: its floor, or all there is where it is exclusive.

    All is the memory after the reserve and the compute of one GPU, however much the pool overcommits: it is
    what the pod can use. Of devices of different sizes it is the least.
    """
    if not request.constraints.exclusive:
        return request.requests
    wholes = (_whole(pool, device) for device in node.devices if device.uuid in device_uuids)
    return min(wholes, key=lambda whole: whole.memory_bytes, default=request.requests)


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
                given[uuid] = given.get(uuid, values.NOTHING) + promise.amount
    return given


def room(pool: values.Pool, node: values.Node, promises: Iterable[Promise] = ()) -> NodeRoom:
    """The room that ``pool`` has on ``node``: its usable devices in the agent's order, with what is free."""
    promised = tuple(promises)
    mine = members(pool, node)
    healthy = tuple(device for device in mine if device.healthy)
    usable = tuple(device for device in healthy if device.uuid not in node.cordoned_devices)
    given, company = charges(node, promised), _company(node, promised)
    pods = _pods(node, promised)
    return NodeRoom(
        node=node.name,
        devices=tuple(
            _device_room(pool, device, given.get(device.uuid), company.get(device.uuid)) for device in usable
        ),
        unusable=len(mine) - len(usable),
        cordoned=len(healthy) - len(usable),
        cpu_milli=None if node.cpu_milli is None else node.cpu_milli - sum(pod.cpu_milli for pod in pods),
        memory_bytes=None
        if node.memory_bytes is None
        else node.memory_bytes - sum(pod.memory_bytes for pod in pods),
    )


def _pods(node: values.Node, promises: Iterable[Promise]) -> set[values.PodRef]:
    """The pods that live in the node's slices, and those promised a place there."""
    living = {pod for slice_ in node.slices.values() for pod in slice_.pods}
    return living | {promise.request.pod for promise in promises}


def silent_room(node: str) -> NodeRoom:
    """What a node has for new pods while its agent is silent: nothing."""
    return NodeRoom(node=node, devices=(), silent=True)


def silent_nodes(heartbeats: Mapping[str, float | None], *, now: float) -> frozenset[str]:
    """The nodes, given by their last heartbeat, whose agents have not written for ``SILENT_SECONDS``.

    One that has never written is silent too.
    """
    late = now - SILENT_SECONDS
    return frozenset(name for name, at in heartbeats.items() if at is None or at < late)


def total_capacity(pool: values.Pool, nodes: Iterable[values.Node]) -> values.Amounts:
    """What the pool may promise on all healthy devices of ``nodes`` together."""
    return sum(
        (capacity(pool, device) for node in nodes for device in members(pool, node) if device.healthy),
        values.NOTHING,
    )


@dataclass(slots=True)
class _Company:
    """Who keeps others off a device."""

    exclusive: bool = False
    groups: frozenset[GroupMember] = frozenset()


def _company(node: values.Node, promises: Iterable[Promise]) -> dict[str, _Company]:
    """Who keeps others off which devices, by UUID; most keep nobody off."""
    found: dict[str, _Company] = {}
    for slice_ in node.slices.values():
        if slice_.exclusive or slice_.exclusion_group is not None:
            keeps = _Company(slice_.exclusive, _member(slice_.claim, slice_.exclusion_group))
            _join(found, slice_.device_uuids, keeps)
    for promise in promises:
        asked = promise.request.constraints
        if (asked.exclusive or asked.exclusion_group is not None) and (
            promise.request.slice_id not in node.slices
        ):
            keeps = _Company(asked.exclusive, _member(promise.request.claim, asked.exclusion_group))
            _join(found, promise.device_uuids, keeps)
    return found


def _join(found: dict[str, _Company], device_uuids: Iterable[str], keeps: _Company) -> None:
    for uuid in device_uuids:
        there = found.setdefault(uuid, _Company())
        there.exclusive |= keeps.exclusive
        there.groups |= keeps.groups


def _member(claim: values.ClaimRef, group: str | None) -> frozenset[GroupMember]:
    if group is None:
        return frozenset()
    return frozenset({GroupMember(namespace=claim.namespace, group=group, claim_uid=claim.uid)})


def _device_room(
    pool: values.Pool, device: values.Device, given: values.Amounts | None, company: _Company | None
) -> DeviceRoom:
    promised = capacity(pool, device)
    kept_off = company is not None and company.exclusive
    return DeviceRoom(
        uuid=device.uuid,
        capacity=promised,
        free=values.NOTHING if kept_off else promised - (given or values.NOTHING),
        model=device.model,
        numa_node=device.numa_node,
        links=device.links,
        occupied=given is not None,
        groups=frozenset() if company is None else company.groups,
    )


def _whole(pool: values.Pool, device: values.Device) -> values.Amounts:
    usable = max(0, device.memory_bytes - pool.reserved_memory_bytes)
    one_gpu = values.Amounts(memory_bytes=usable, compute_percent=100)
    return capacity(pool, device).at_most(one_gpu)


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
