"""Names that need work: each waits once however often it is added, and is one worker's at a time."""

import asyncio
import contextlib
from collections.abc import AsyncIterator


class WorkQueue:
    """A queue for several workers; what is added while it is worked on comes again afterwards."""

    def __init__(self) -> None:
        self._waiting: asyncio.Queue[str] = asyncio.Queue()
        self._dirty: set[str] = set()
        self._busy: set[str] = set()

    def add(self, name: str) -> None:
        """Ask for work on name."""
        if name not in self._dirty:
            self._dirty.add(name)
            if name not in self._busy:
                self._waiting.put_nowait(name)

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[str]:
        """Yield the next name once there is one; it is the caller's alone inside the block."""
        name = await self._waiting.get()
        self._dirty.discard(name)
        self._busy.add(name)
        try:
            yield name
        finally:
            self._busy.discard(name)
            if name in self._dirty:
                self._waiting.put_nowait(name)
