"""Rooms of nodes read once per change: a verdict over thousands of nodes must not read each of them again.

What is read is the book's; nothing is decided here.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from vgpu import inventory, reservations, values


@dataclass(slots=True)
class _Read:
    """The rooms of one pool as they were read, with the node that each was read of."""

    pool: values.Pool
    rooms: dict[str, tuple[values.Node, bool, inventory.NodeRoom]] = field(default_factory=dict)


class Rooms:
    """The rooms of all nodes by pool; nodes and pools are values, so another object is a change."""

    def __init__(self, book: reservations.Book) -> None:
        self._book = book
        self._read: dict[str, _Read] = {}

    def of(self, pool: values.Pool) -> Iterator[inventory.NodeRoom]:
        """The room of every node for a pool, in the book's order."""
        read = self._read.get(pool.name)
        if read is None or read.pool is not pool:
            read = self._read[pool.name] = _Read(pool)
        for name, node in self._book.nodes.items():
            yield self._room(read, name, node)
        if len(read.rooms) > len(self._book.nodes):
            for gone in read.rooms.keys() - self._book.nodes.keys():
                del read.rooms[gone]

    def _room(self, read: _Read, name: str, node: values.Node) -> inventory.NodeRoom:
        known, silent = read.rooms.get(name), name in self._book.silent
        if known is not None and known[0] is node and known[1] == silent:
            return known[2]
        room = self._book.room(read.pool, name)
        read.rooms[name] = node, silent, room
        return room
