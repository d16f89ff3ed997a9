"""The pools' boards: rooms kept by deltas, read again only for nodes that have changed.

What a room is, and who is promised a place, the caller knows.
"""

from collections.abc import Callable, Iterable

from vgpu import inventory, values
from vgpu.placement import board, demand, mix, outlook

Reading = Callable[[values.Pool, str], inventory.NodeRoom | None]
"""The room of a node for a pool as it is now; None where there is no such node any more."""


class Boards:
    """One board per pool that has been asked for, and what each pool is asked for."""

    def __init__(self, read: Reading) -> None:
        self._read = read
        self._outlooks: dict[str, outlook.Outlook] = {}
        self._demands: dict[str, demand.Demand] = {}
        self._changed: dict[str, set[str]] = {}  # by pool: nodes that its board has not seen as they are

    def board(self, pool: values.Pool, nodes: Iterable[str], *, now: float) -> board.Board:
        """The pool's board, up to date; ``nodes`` are all there are, which a new board reads."""
        found = self._outlooks.get(pool.name)
        if found is None:
            found = self._outlooks[pool.name] = outlook.Outlook(pool.strategy, self.demand(pool.name))
            self._changed[pool.name] = set(nodes)
        changed = self._changed[pool.name]
        while changed:
            self._see(found, pool, changed.pop())
        return found.board(now=now)

    def demand(self, pool_name: str) -> demand.Demand:
        """What a pool is asked for; to be told of each request."""
        return self._demands.setdefault(pool_name, demand.Demand())

    def expected(self, pool_name: str, *, now: float) -> mix.Mix:
        """What a pool will be asked for, as far as its slices and the requests so far tell."""
        return self.demand(pool_name).mix(now=now)

    def touch(self, node: str) -> None:
        """A node's room is not what it was."""
        for changed in self._changed.values():
            changed.add(node)

    def renew(self, pool_name: str) -> None:
        """Read all rooms of a pool anew."""
        self._outlooks.pop(pool_name, None)

    def forget(self, pool_name: str) -> None:
        """The pool is gone."""
        self._outlooks.pop(pool_name, None)
        self._demands.pop(pool_name, None)
        self._changed.pop(pool_name, None)

    def _see(self, found: outlook.Outlook, pool: values.Pool, node: str) -> None:
        room = self._read(pool, node)
        if room is None:
            found.forget(node)
        else:
            found.see(room)
