"""Runs the reconciliation of each key: at once when woken, then at most once per rest, never twice at a time.

The rest grows while changes keep coming.
What comes while a key runs or rests makes one further run. What fails is run again after a growing delay.
What a run does is the caller's affair.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from vgpu_kube import errors, logs
from vgpu_kube.backoff import Backoff

K = TypeVar("K", bound=Hashable)

logger = logging.getLogger(__name__)

REST_SECONDS = 0.2
"""Between two runs of one key at first."""

LONGEST_REST_SECONDS = 1.0
"""Between two runs in a storm of changes: the status of a claim with hundreds of pods costs the API server as
much as the placing of several."""

RETRY_LIMIT_SECONDS = 5.0
PARALLEL = 32


class Workqueue(Generic[K]):
    """Keys and their runs; ``sleep`` and ``rng`` (for the jitter of retries) are injected."""

    def __init__(
        self,
        reconcile: Callable[[K], Awaitable[None]],
        *,
        name: str,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        rng: random.Random | None = None,
    ) -> None:
        self._reconcile = reconcile
        self._name = name
        self._sleep = sleep
        self._rng = rng or random.Random()  # noqa: S311 -- jitter, no secret
        self._due: set[K] = set()
        self._tasks: dict[K, asyncio.Task[None]] = {}
        self._rests: dict[K, asyncio.Future[None]] = {}
        self._turns = asyncio.Semaphore(PARALLEL)
        self._stopped = False

    def __len__(self) -> int:
        """How many keys wait for a run."""
        return len(self._due)

    def wake(self, key: K) -> None:
        """Makes sure that the key is run once more from now on."""
        if self._stopped:
            return
        self._due.add(key)
        if key not in self._tasks:
            self._tasks[key] = asyncio.create_task(self._serve(key), name=f"{self._name} {key}")

    def hurry(self, key: K) -> None:
        """As ``wake``, and the rest after the last run ends now: somebody waits for what this change does."""
        self.wake(key)
        if key in self._rests:
            self._rests[key].cancel()

    async def stop(self) -> None:
        """Ends all runs; later wakes are ignored."""
        self._stopped = True
        tasks = [*self._tasks.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def idle(self) -> None:
        """Returns when no key is due, running or resting."""
        while self._tasks:
            await asyncio.wait([*self._tasks.values()])

    async def _serve(self, key: K) -> None:
        backoff, rest = Backoff(limit=RETRY_LIMIT_SECONDS, rng=self._rng), REST_SECONDS
        try:
            while key in self._due:
                async with self._turns:
                    self._due.discard(key)
                    pause = await self._run(key, backoff)
                hurried = await self._rest(key, max(pause, rest))
                rest = REST_SECONDS if hurried else min(2 * rest, LONGEST_REST_SECONDS)
        finally:
            del self._tasks[key]

    async def _rest(self, key: K, seconds: float) -> bool:
        """Rests; whether somebody had no time for that."""
        rest = self._rests[key] = asyncio.ensure_future(self._sleep(seconds))
        try:
            await asyncio.wait([rest])
            return rest.cancelled()
        finally:
            rest.cancel()
            del self._rests[key]

    async def _run(self, key: K, backoff: Backoff) -> float:
        """One run; the seconds until the next one may come."""
        try:
            await self._reconcile(key)
        except errors.Conflict as error:
            logs.event(logger, logging.DEBUG, f"{self._name} overtaken", key=key, reason=error)
            pause = REST_SECONDS
        except errors.KubeError as error:
            pause = max(backoff.failed(), error.retry_after or 0.0, REST_SECONDS)
            level = logging.WARNING
            logs.event(
                logger, level, f"{self._name} put off", key=key, reason=error, again_in=f"{pause:.1f}s"
            )
        except Exception:  # a mistake over one object must not end the work on all others
            logger.exception("%s failed key=%s", self._name, key)
            pause = max(backoff.failed(), REST_SECONDS)
        else:
            backoff.succeeded()
            return REST_SECONDS
        self._due.add(key)
        return pause
