"""Spread: take what is emptiest, so that slices have room to grow and few neighbours."""

from vgpu import inventory, values
from vgpu.placement import policy
from vgpu.placement.policies import bin_pack


class Spread:
    """Takes the emptiest device of the emptiest node."""

    def choose(
        self, room: inventory.NodeRoom, fitting: tuple[inventory.DeviceRoom, ...], request: values.Request
    ) -> policy.Choice:
        """The emptiest fitting devices; the score is the node's."""
        chosen = sorted(fitting, key=policy.free_worth, reverse=True)[: request.device_count]
        return policy.Choice(device_uuids=policy.uuids(chosen), score=self.node_score(room))

    def node_score(self, room: inventory.NodeRoom) -> float:
        """The node's free share, the larger the better."""
        return -bin_pack.node_share(room)
