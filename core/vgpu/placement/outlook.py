"""One pool's board, and the policy on it that follows what the pool is asked for and what devices it has.

The board keeps its rooms when the policy changes. Which nodes are of the pool, and who is promised what, is
not known here.
"""

from collections.abc import Mapping

from vgpu import inventory, values
from vgpu.placement import board, demand, mix, policies, scarcity

LOOK_AFTER_REQUESTS = 32
LOOK_AFTER_SECONDS = 60.0
PRICE_TOLERANCE = 0.02

Models = tuple[tuple[str, values.Amounts], ...]


class Outlook:
    """A board for a strategy; the strategies that expect nothing keep their policy."""

    def __init__(self, strategy: values.Strategy, asked: demand.Demand) -> None:
        self._strategy = strategy
        self._demand = asked
        self._board = board.Board(policies.of(strategy))
        self._models: dict[str, Models] = {}
        self._supply: dict[str, values.Amounts] = {}
        self._supply_changed = False
        self._mix = mix.PRIOR
        self._prices: Mapping[str, float] = {}
        self._look_at = float("-inf")

    def see(self, room: inventory.NodeRoom) -> None:
        """Take in the room of a new or changed node."""
        self._count(room.node, tuple([(device.model, device.capacity) for device in room.devices]))
        self._board.see(room)

    def forget(self, node: str) -> None:
        """The node is gone."""
        self._count(node, ())
        self._board.forget(node)

    def board(self, *, now: float) -> board.Board:
        """The board under the policy for what is expected now."""
        if (
            self._supply_changed
            or self._demand.fresh >= LOOK_AFTER_REQUESTS
            or (now >= self._look_at and self._strategy is values.Strategy.LEAST_FRAGMENTATION)
        ):
            self._look(now)
        return self._board

    def _look(self, now: float) -> None:
        expected = self._demand.mix(now=now)
        prices = scarcity.prices(expected, self._supply)
        self._supply_changed = False
        self._look_at = now + LOOK_AFTER_SECONDS
        if expected is self._mix and _close(prices, self._prices):
            return
        self._mix, self._prices = expected, prices
        if self._strategy is values.Strategy.LEAST_FRAGMENTATION:
            self._board.follow(policies.of(self._strategy, expected, dict(self._supply)))

    def _count(self, node: str, models: Models) -> None:
        """Keeps the supply as the nodes' devices come and go."""
        known = self._models.pop(node, ())
        if models:
            self._models[node] = models
        if models == known:
            return
        self._supply_changed = True
        for model, capacity in known:
            self._supply[model] -= capacity
        for model, capacity in models:
            self._supply[model] = self._supply.get(model, values.NOTHING) + capacity


def _close(one: Mapping[str, float], other: Mapping[str, float]) -> bool:
    return all(
        abs(one.get(model, 0.0) - other.get(model, 0.0)) <= PRICE_TOLERANCE for model in {*one, *other}
    )
