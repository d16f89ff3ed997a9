"""DotProd: the request and the node's free room as vectors of CPU and GPU; the smaller product wins.

Tetris-like, with the GPUs of a node merged into one dimension. Source: the simulator of Weng, Yang et al.,
"Beware of Fragmentation", USENIX ATC'23.
"""

from dataclasses import dataclass

from vgpu import inventory, values
from vgpu.placement import policy
from vgpu.placement.policies import best_fit


@dataclass(frozen=True, slots=True, kw_only=True)
class DotProd:
    """The product of free and asked, in parts of the largest node."""

    largest_cpu_milli: int = 128_000
    largest_gpu_milli: int = 8_000

    def choose(
        self, room: inventory.NodeRoom, fitting: tuple[inventory.DeviceRoom, ...], request: values.Request
    ) -> policy.Choice:
        """The tightest devices; the score is truncated to whole points of 100."""
        chosen = policy.tightest(fitting, request.device_count)
        cpu = (room.cpu_milli or 0) * request.pod_cpu_milli / self.largest_cpu_milli**2
        gpu = best_fit.free_worth(room) * policy.asked_worth(chosen, request)
        points = 100 * (1 - 0.5 * (cpu + gpu / (1000 * self.largest_gpu_milli) ** 2))
        return policy.Choice(device_uuids=policy.uuids(chosen), score=-int(points))
