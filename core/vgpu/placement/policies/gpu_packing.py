"""GpuPacking: first GPUs in use, then idle GPUs of nodes in use, then idle nodes.

Source: the simulator of Weng, Yang et al., "Beware of Fragmentation", USENIX ATC'23.
"""

from vgpu import inventory, values
from vgpu.placement import policy


class GpuPacking:
    """Three classes of nodes, by how much that is idle they would break."""

    def choose(
        self, room: inventory.NodeRoom, fitting: tuple[inventory.DeviceRoom, ...], request: values.Request
    ) -> policy.Choice:
        """The tightest devices; the score is a whole number of 0 to 100 points."""
        chosen = policy.tightest(fitting, request.device_count)
        return policy.Choice(device_uuids=policy.uuids(chosen), score=-_points(room, chosen))


def _points(room: inventory.NodeRoom, chosen: list[inventory.DeviceRoom]) -> int:
    if not chosen:
        return 0
    if all(policy.idle(device) for device in room.devices):
        return max(33 - len(room.devices), len(room.devices))
    broken = sum(policy.idle(device) for device in chosen)
    if broken:
        return max(50 - broken, 33)
    return max(100 - sum(policy.free_worth(device) // 10_000 for device in chosen) // 10, 50)
