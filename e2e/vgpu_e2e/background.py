"""Tasks that run beside a test until they are told to end, and whose failures are not lost."""

import asyncio
from collections.abc import Coroutine


class Background:
    """A set of tasks that end together."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()
        self._failures: list[BaseException] = []

    def start(self, work: Coroutine[object, object, None]) -> None:
        """Run work beside everything else."""
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._note)

    async def close(self) -> None:
        """Cancel what still runs; raise the first failure there was."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        if self._failures:
            raise self._failures[0]

    def _note(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (failure := task.exception()):
            self._failures.append(failure)
