"""GpuClustering: pods of one size together, on nodes as full as possible.

Source: the simulator of Weng, Yang et al., "Beware of Fragmentation", USENIX ATC'23.
"""

from vgpu import inventory, values
from vgpu.placement import policy
from vgpu.placement.policies import best_fit

LARGEST_GPU_MILLI = 8_000


class GpuClustering:
    """Prefers nodes whose GPU pods are all of the request's size, then nodes that have some."""

    def choose(
        self, room: inventory.NodeRoom, fitting: tuple[inventory.DeviceRoom, ...], request: values.Request
    ) -> policy.Choice:
        """The tightest devices; the score is a whole number of 0 to 100 points."""
        chosen = policy.tightest(fitting, request.device_count)
        return policy.Choice(device_uuids=policy.uuids(chosen), score=-_points(room, chosen, request))


def size(devices: list[inventory.DeviceRoom], request: values.Request) -> int:
    """The size class of a pod: how many whole GPUs it takes, 0 for a slice of one."""
    sliced = any(not request.requests.covers(device.capacity) for device in devices)
    return 0 if sliced else request.device_count


def _points(room: inventory.NodeRoom, chosen: list[inventory.DeviceRoom], request: values.Request) -> int:
    if not chosen:
        return 0
    mine = size(chosen, request)
    if not room.pod_sizes:
        kinship = 25
    elif mine in room.pod_sizes:
        kinship = 75 if len(room.pod_sizes) == 1 else 50
    else:
        kinship = 0
    return kinship + 25 * (LARGEST_GPU_MILLI - best_fit.free_worth(room) // 1000) // LARGEST_GPU_MILLI
