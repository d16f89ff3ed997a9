"""BinPack: fill what is fullest, so that whole GPUs stay free longest."""

from vgpu import inventory, values
from vgpu.placement import policy


class BinPack:
    """Fills the fullest device of the fullest node that still fits."""

    def choose(
        self, room: inventory.NodeRoom, fitting: tuple[inventory.DeviceRoom, ...], request: values.Request
    ) -> policy.Choice:
        """The fullest fitting devices; the score is the node's."""
        chosen = policy.tightest(fitting, request.device_count)
        return policy.Choice(device_uuids=policy.uuids(chosen), score=self.node_score(room))

    def node_score(self, room: inventory.NodeRoom) -> float:
        """The node's free share."""
        return node_share(room)


def node_share(room: inventory.NodeRoom) -> float:
    """The free part of a node's devices, 0 to 1."""
    return sum(device.free_share for device in room.devices) / max(1, len(room.devices))
