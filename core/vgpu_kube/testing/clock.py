"""Time that passes when a test says so."""

import asyncio
import heapq
import itertools
from datetime import UTC, datetime, timedelta

SETTLING_ROUNDS = 100


class Clock:
    """A monotonic clock, a wall clock and a sleep that move together, by :meth:`advance` alone."""

    def __init__(self, *, start: float = 1000.0, epoch: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._start = self._time = start
        self._epoch = epoch
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()

    def monotonic(self) -> float:
        """Seconds of a clock that never goes back."""
        return self._time

    def now(self) -> datetime:
        """The time of day."""
        return self._epoch + timedelta(seconds=self._time - self._start)

    async def sleep(self, seconds: float) -> None:
        """Returns once the test has advanced this far."""
        future = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._time + seconds, next(self._numbers), future))
        await future

    async def advance(self, seconds: float) -> None:
        """Lets time pass: sleepers wake in order, and everybody goes as far as they can."""
        end = self._time + seconds
        await settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            when, _, future = heapq.heappop(self._sleepers)
            self._time = max(self._time, when)
            if not future.done():
                future.set_result(None)
            await settle()
        self._time = end
        await settle()


async def settle() -> None:
    """Returns when every task has gone as far as it can without time or input, within reason."""
    for _ in range(SETTLING_ROUNDS):
        await asyncio.sleep(0)
