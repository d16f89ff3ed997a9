"""Why a node has no room, in words that are equal for equal causes so that nodes group by them."""

from collections import Counter
from collections.abc import Mapping

from vgpu import inventory, values
from vgpu.placement import eligibility

NOT_IN_POOL = "not in the pool"
SLICE_ELSEWHERE = "the claim's shared slice is on another node"
SILENT = f"its agent has not reported for {inventory.SILENT_SECONDS:.0f} s"
NOT_REPORTED = "its agent has reported no GPUs"
LITTLE_CPU = "too little CPU left for the pod"
LITTLE_MEMORY = "too little memory left for the pod"


def shortage(
    room: inventory.NodeRoom, fits: tuple[inventory.DeviceRoom, ...], request: values.Request
) -> str:
    """What a node of the pool lacks for the request; ``fits`` are the devices that would do one by one.

    The first cause in the way is told: what the node has, what the claim accepts of it, who is there, room.
    """
    if not room.devices:
        return _no_devices(room)
    count = request.device_count
    if len(room.devices) < count:
        return f"fewer than {count} usable GPUs"
    accepted = tuple(device for device in room.devices if eligibility.accepted(device, request))
    if len(accepted) < count:
        return _too_few(accepted, count, "that the claim's deviceSelector accepts")
    empty = tuple(device for device in accepted if eligibility.alone(device, request))
    if len(empty) < count:
        return _too_few(empty, count, "without other slices, as an exclusive claim needs")
    apart = tuple(device for device in empty if eligibility.apart(device, request))
    if len(apart) < count:
        return _too_few(apart, count, f"free of exclusion group {request.constraints.exclusion_group}")
    if len(fits) < count:
        return _too_full(apart, fits, request)
    return f"fewer than {count} GPUs with {request.requests} free on one NUMA node"


def summary(reasons: Mapping[str, str]) -> str:
    """The reasons with the number of nodes each, the largest group first: ``3 nodes: a; 1 node: b``."""
    if not reasons:
        return "there is no node with GPUs to choose from"
    groups = Counter(reasons.values()).most_common()
    return "; ".join(f"{count} {'node' if count == 1 else 'nodes'}: {reason}" for reason, count in groups)


def _no_devices(room: inventory.NodeRoom) -> str:
    if room.silent:
        return SILENT
    if not room.unusable:
        return NOT_IN_POOL
    if not room.cordoned:
        return "all GPUs unhealthy"
    return "all GPUs cordoned" if room.cordoned == room.unusable else "all GPUs cordoned or unhealthy"


def _too_few(left: eligibility.Devices, count: int, which: str) -> str:
    return f"fewer than {count} GPUs {which}" if left else f"no GPU {which}"


def _too_full(apart: eligibility.Devices, fits: eligibility.Devices, request: values.Request) -> str:
    if fits:
        return f"fewer than {request.device_count} GPUs with {request.requests} free"
    return f"no GPU with {_lacking(apart, request.requests)} free"


def _lacking(devices: eligibility.Devices, asked: values.Amounts) -> str:
    memory = any(device.free.memory_bytes >= asked.memory_bytes for device in devices)
    compute = any(device.free.compute_percent >= asked.compute_percent for device in devices)
    if compute and not memory:
        return f"{asked.memory_bytes / values.GIB:g} GiB memory"
    if memory and not compute:
        return f"{asked.compute_percent} % compute"
    return str(asked)
