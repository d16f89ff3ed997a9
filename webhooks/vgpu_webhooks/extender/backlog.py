"""How many Bindings are under way; Filter waits, so that kube-scheduler places no faster than we write.

kube-scheduler binds beside its next cycles and lets each call wait five seconds at most; without a brake a
burst of a thousand pods times out and is tried again.
"""

import asyncio
import contextlib
from collections.abc import Iterator


class Backlog:
    """Counts what is under way; ``most`` is how much may be before others should wait."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._count = 0
        self._eased = asyncio.Event()
        self._eased.set()

    @contextlib.contextmanager
    def one_more(self) -> Iterator[None]:
        """Counts one more inside the ``with``."""
        self._count += 1
        self._tell()
        try:
            yield
        finally:
            self._count -= 1
            self._tell()

    async def eased(self, *, patience_seconds: float) -> None:
        """Returns once less than ``most`` is under way, or when patience ends."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience_seconds):
                await self._eased.wait()

    def _tell(self) -> None:
        if self._count < self._most:
            self._eased.set()
        else:
            self._eased.clear()
