"""BestFit: the node that keeps the least CPU and GPU after placing, as FGD's authors define it.

Source: Weng, Yang et al., "Beware of Fragmentation", USENIX ATC'23, section 6, and its simulator.
"""

from dataclasses import dataclass

from vgpu import inventory, values
from vgpu.placement import policy


@dataclass(frozen=True, slots=True, kw_only=True)
class BestFit:
    """Least left over; CPU and GPU count half each, in parts of the largest node."""

    largest_cpu_milli: int = 128_000
    largest_gpu_milli: int = 8_000

    def choose(
        self, room: inventory.NodeRoom, fitting: tuple[inventory.DeviceRoom, ...], request: values.Request
    ) -> policy.Choice:
        """The tightest devices; the score is truncated to whole points of 100."""
        chosen = policy.tightest(fitting, request.device_count)
        cpu = (room.cpu_milli or 0) - request.pod_cpu_milli if room.cpu_milli is not None else 0
        gpu = (free_worth(room) - policy.asked_worth(chosen, request)) / 1000
        points = 100 * (1 - 0.5 * cpu / self.largest_cpu_milli - 0.5 * gpu / self.largest_gpu_milli)
        return policy.Choice(device_uuids=policy.uuids(chosen), score=-int(points))


def free_worth(room: inventory.NodeRoom) -> int:
    """What is free on a node, parts per million of one GPU."""
    return sum(policy.free_worth(device) for device in room.devices)
