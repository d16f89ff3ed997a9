"""Why a node has no room, in words that are equal for equal causes so that nodes group by them."""

from collections import Counter
from collections.abc import Mapping

from vgpu import inventory, values

NOT_IN_POOL = "not in the pool"
SLICE_ELSEWHERE = "the claim's shared slice is on another node"
NOT_REPORTED = "its agent has reported no GPUs"
LITTLE_CPU = "too little CPU left for the pod"
LITTLE_MEMORY = "too little memory left for the pod"


def shortage(
    room: inventory.NodeRoom, fits: tuple[inventory.DeviceRoom, ...], request: values.Request
) -> str:
    """What a node of the pool lacks for the request."""
    if not room.devices:
        return "all GPUs cordoned or unhealthy" if room.unusable else NOT_IN_POOL
    if len(room.devices) < request.device_count:
        return f"fewer than {request.device_count} usable GPUs"
    if fits:
        return f"fewer than {request.device_count} GPUs with {request.requests} free"
    return f"no GPU with {_lacking(room, request.requests)} free"


def summary(reasons: Mapping[str, str]) -> str:
    """The reasons with the number of nodes each, the largest group first: ``3 nodes: a; 1 node: b``."""
    if not reasons:
        return "no nodes were offered"
    groups = Counter(reasons.values()).most_common()
    return "; ".join(f"{count} {'node' if count == 1 else 'nodes'}: {reason}" for reason, count in groups)


def _lacking(room: inventory.NodeRoom, asked: values.Amounts) -> str:
    memory = any(device.free.memory_bytes >= asked.memory_bytes for device in room.devices)
    compute = any(device.free.compute_percent >= asked.compute_percent for device in room.devices)
    if compute and not memory:
        return f"{asked.memory_bytes / values.GIB:g} GiB memory"
    if memory and not compute:
        return f"{asked.compute_percent} % compute"
    return str(asked)
