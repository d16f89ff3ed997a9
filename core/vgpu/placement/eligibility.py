"""Whether a device can serve a request: room for the floor, and whatever the claim is constrained by.

One device at a time, and which of them may serve together; how good a choice is, is not asked here.
"""

from collections.abc import Hashable, Iterable
from dataclasses import replace

from vgpu import inventory, values
from vgpu.placement import selection

Devices = tuple[inventory.DeviceRoom, ...]


def fitting(devices: Iterable[inventory.DeviceRoom], request: values.Request) -> Devices:
    """The devices that accept the request."""
    if request.constraints == values.UNCONSTRAINED:
        return tuple(device for device in devices if roomy(device, request))
    return tuple(
        device
        for device in devices
        if roomy(device, request)
        and accepted(device, request)
        and alone(device, request)
        and apart(device, request)
    )


def roomy(device: inventory.DeviceRoom, request: values.Request) -> bool:
    """Whether a device has room for the floor and is of a model among ``models``."""
    return device.free.covers(request.requests) and (not request.models or device.model in request.models)


def demands(request: values.Request) -> Hashable:
    """What requests of one size have in common that fit the same devices; None where their size tells all.

    A claim is never kept off itself, so in an exclusion group each claim is another one.
    """
    asked = request.constraints
    if asked == values.UNCONSTRAINED or not (_by_device(request) or _by_company(asked) or _aligned(request)):
        return None
    return asked, request.claim if asked.exclusion_group is not None else None


def touches(room: inventory.NodeRoom, request: values.Request) -> bool:
    """Whether the request's demands may make another choice on a node than room and ``models`` do.

    An exclusive request weighs more than it asks for, so it looks at every node its own way.
    """
    asked = request.constraints
    if asked.exclusive or _aligned(request):
        return bool(room.devices)
    if asked.exclusion_group is not None and any(device.groups for device in room.devices):
        return True
    return _by_device(request) and not all(accepted(device, request) for device in room.devices)


def _by_device(request: values.Request) -> bool:
    """Whether devices are told apart by more than their model among ``models``."""
    asked = request.constraints.devices
    return bool(asked) and not (request.models and selection.on_models_only(asked))


def _by_company(asked: values.Constraints) -> bool:
    return asked.exclusive or asked.exclusion_group is not None


def _aligned(request: values.Request) -> bool:
    return request.constraints.numa is values.NumaAlignment.REQUIRED and request.device_count > 1


def accepted(device: inventory.DeviceRoom, request: values.Request) -> bool:
    """Whether the claim's device selector accepts a device."""
    if request.models and device.model not in request.models:
        return False
    return selection.selects(request.constraints.devices, model=device.model, uuid=device.uuid)


def alone(device: inventory.DeviceRoom, request: values.Request) -> bool:
    """Whether a request that wants devices for itself finds this one empty."""
    return not (request.constraints.exclusive and device.occupied)


def apart(device: inventory.DeviceRoom, request: values.Request) -> bool:
    """Whether no other claim of the request's exclusion group holds a part of a device."""
    group, claim = request.constraints.exclusion_group, request.claim
    return not any(
        member.group == group and member.namespace == claim.namespace and member.claim_uid != claim.uid
        for member in device.groups
    )


def sized(request: values.Request, devices: Devices) -> values.Request:
    """The request as policies have to weigh it on these devices: an exclusive one takes all there is."""
    if not request.constraints.exclusive:
        return request
    least = min((device.capacity for device in devices), key=lambda whole: whole.memory_bytes)
    return replace(request, requests=least)


def sides(fits: Devices, request: values.Request) -> tuple[Devices, ...]:
    """The groups of fitting devices that have enough of them and any of which may serve together.

    That is all of them, or those of each NUMA node where the claim requires one. A device whose NUMA node is
    not known is on none.
    """
    if not _aligned(request):
        return (fits,) if len(fits) >= request.device_count else ()
    by_numa_node: dict[int, list[inventory.DeviceRoom]] = {}
    for device in fits:
        if device.numa_node is not None:
            by_numa_node.setdefault(device.numa_node, []).append(device)
    return tuple(
        tuple(by_numa_node[number])
        for number in sorted(by_numa_node)
        if len(by_numa_node[number]) >= request.device_count
    )
