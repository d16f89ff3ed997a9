"""Random: any node and any devices that fit, the floor under every comparison."""

import random
from dataclasses import dataclass, field

from vgpu import inventory, values
from vgpu.placement import policy


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomFit:
    """Uniform over nodes, then over the devices that fit; ``draw`` is the only source of chance."""

    draw: random.Random = field(compare=False)

    def choose(
        self, room: inventory.NodeRoom, fitting: tuple[inventory.DeviceRoom, ...], request: values.Request
    ) -> policy.Choice:
        """A random sample of the devices, with a random score."""
        chosen = self.draw.sample(fitting, request.device_count)
        return policy.Choice(device_uuids=policy.uuids(chosen), score=self.draw.random())
