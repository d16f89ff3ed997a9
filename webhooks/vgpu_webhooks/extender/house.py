"""When the extender looks after what is due between calls: soon after anything has happened, and each second.

What is done then is the extender's to say.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

logger = logging.getLogger(__name__)

TICK_SECONDS = 1.0
"""How often what only time changes is looked at: promises that expire, slices whose pod is never bound."""

REST_SECONDS = 0.03
"""The least rest between two rounds of housekeeping: what happens meanwhile is looked at together. After a
long round it is longer, so that calls come first."""

LONG_REST_SECONDS = 0.3
"""A rest that nothing ends before its time."""


class House:
    """Calls ``look`` again and again; ``tick`` before it once a second."""

    def __init__(
        self,
        look: Callable[[], Awaitable[None]],
        *,
        tick: Callable[[], None],
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._look = look
        self._tick = tick
        self._clock = clock
        self._sleep = sleep
        self._stirred = asyncio.Event()
        self._hurried = asyncio.Event()

    def stir(self) -> None:
        """Something has happened."""
        self._stirred.set()

    def hurry(self) -> None:
        """Something has happened that waits for no rest, unless a long one."""
        self._hurried.set()

    async def keep(self) -> None:
        """Looks whenever something has happened, until cancelled."""
        while True:
            await self._stirred.wait()
            self._stirred.clear()
            self._hurried.clear()
            began = self._clock()
            try:
                await self._look()
            except Exception:  # a mistake of ours must not end all releases; the next tick looks at it again
                logger.exception("housekeeping failed")
            took = self._clock() - began
            await self._rest(min(max(REST_SECONDS, 2 * took), TICK_SECONDS))

    async def pass_time(self) -> None:
        """Stirs once a second, until cancelled."""
        while True:
            await self._sleep(TICK_SECONDS)
            self._tick()
            self.stir()

    async def _rest(self, seconds: float) -> None:
        """Sleeps; a hurry ends a rest unless it is long: a slice that runs waits for its wish now.

        A look of a tenth of a second has waited for the API server; one that worked longer keeps its rest.
        """
        waits: list[asyncio.Future[Any]] = [asyncio.ensure_future(self._sleep(seconds))]
        if seconds <= LONG_REST_SECONDS:
            waits.append(asyncio.ensure_future(self._hurried.wait()))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
