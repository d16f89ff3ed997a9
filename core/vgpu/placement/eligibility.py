"""Whether a device can serve a request: room for the floor, and whatever the claim is constrained by.

One device at a time, and which of them may serve together; how good a choice is, is not asked here.
"""

from collections.abc import Callable, Iterable

from vgpu import inventory, values
from vgpu.placement import selection

Devices = tuple[inventory.DeviceRoom, ...]
Rule = Callable[[inventory.DeviceRoom], bool]


def fitting(devices: Iterable[inventory.DeviceRoom], request: values.Request) -> Devices:
    """The devices that accept the request."""
    if request.constraints == values.UNCONSTRAINED:
        return tuple(device for device in devices if _roomy(device, request))
    return tuple(
        device
        for device in devices
        if _roomy(device, request)
        and accepted(device, request)
        and alone(device, request)
        and apart(device, request)
    )


def _roomy(device: inventory.DeviceRoom, request: values.Request) -> bool:
    return device.free.covers(request.requests) and (not request.models or device.model in request.models)


def binds(request: values.Request) -> bool:
    """Whether the request looks at more of a device than its room and its model among ``models``."""
    asked = request.constraints
    if asked.devices and not (request.models and selection.on_models_only(asked.devices)):
        return True
    aligned = asked.numa is values.NumaAlignment.REQUIRED and request.device_count > 1
    return asked.exclusive or asked.exclusion_group is not None or aligned


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


def sides(fits: Devices, request: values.Request) -> tuple[Devices, ...]:
    """The groups of fitting devices that have enough of them and any of which may serve together.

    That is all of them, or those of each NUMA node where the claim requires one. A device whose NUMA node is
    not known is on none.
    """
    if request.constraints.numa is values.NumaAlignment.PREFERRED or request.device_count < 2:
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
