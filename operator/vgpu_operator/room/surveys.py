"""One survey per pool, kept by deltas from the view's book, for as long as anybody waits there."""

import asyncio
import functools

from vgpu import inventory, reservations, values
from vgpu.room import survey

CHUNK = 32
"""So many nodes are read before others get their turn: about 20 ms."""


class Surveys:
    """Surveys of the pools that are asked for, and the nodes that each has not seen as they are."""

    def __init__(self, book: reservations.Book) -> None:
        self._book = book
        self._surveys: dict[str, survey.Survey] = {}
        self._changed: dict[str, set[str]] = {}

    def node_changed(self, name: str) -> None:
        """A node is new, gone, or not what it was."""
        for changed in self._changed.values():
            changed.add(name)

    def forget(self, pool: str) -> None:
        """The pool is another one, gone, or nobody waits there."""
        self._surveys.pop(pool, None)
        self._changed.pop(pool, None)

    async def fresh(self, pool: str) -> survey.Survey | None:
        """The survey of a pool as the book knows it, None where there is no such pool."""
        known = self._book.pools.get(pool)
        if known is None:
            self.forget(pool)
            return None
        if pool not in self._surveys:
            self._surveys[pool] = survey.Survey(functools.partial(self._room, known))
            self._changed[pool] = set(self._book.nodes)
        found, changed = self._surveys[pool], self._changed[pool]
        while changed:
            for name in [changed.pop() for _ in range(min(CHUNK, len(changed)))]:
                self._read(found, name)
            await asyncio.sleep(0)
        return found

    def _room(self, pool: values.Pool, node: values.Node) -> inventory.NodeRoom:
        silent = node.name in self._book.silent
        return inventory.silent_room(node.name) if silent else inventory.room(pool, node)

    def _read(self, into: survey.Survey, name: str) -> None:
        node = self._book.nodes.get(name)
        if node is None:
            into.forget(name)
        else:
            into.see(node)
