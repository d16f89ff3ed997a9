"""Asks a backend without being held up by it: in a thread of its own, and only so long.

A driver that hangs keeps its thread; the agent goes on with what it knew, says so, and asks again when the
thread has come back.
"""

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

from vgpu_agent import devices

T = TypeVar("T")

PATIENCE_SECONDS = 5.0


class Asker:
    """One question at a time to one backend."""

    def __init__(self, backend: devices.Backend, *, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._backend = backend
        self._patience_seconds = patience_seconds
        self._asking: asyncio.Future[object] | None = None

    async def list_devices(self) -> tuple[devices.Found, ...]:
        """As Backend.list_devices; BackendError also where it does not answer in time."""
        return await self._ask(self._backend.list_devices, "its devices")

    async def list_processes(self, uuid: str) -> tuple[devices.ProcessUse, ...]:
        """As Backend.list_processes; BackendError also where it does not answer in time."""
        return await self._ask(lambda: self._backend.list_processes(uuid), f"the processes on {uuid}")

    async def _ask(self, question: Callable[[], T], what: str) -> T:
        if self._asking is not None and not self._asking.done():
            raise devices.BackendError(
                f"the {self._backend.vendor} driver still does not answer; look at the kernel's log"
            )
        answer = _in_thread(question)
        self._asking = answer  # type: ignore[assignment]  # only whether it is done is looked at
        done, _ = await asyncio.wait([answer], timeout=self._patience_seconds)
        if not done:
            answer.add_done_callback(lambda late: late.cancelled() or late.exception())
            raise devices.BackendError(
                f"the {self._backend.vendor} driver did not tell {what} within {self._patience_seconds:g} s"
            )
        return answer.result()


def _in_thread(question: Callable[[], T]) -> asyncio.Future[T]:
    """The answer to come. The thread is a daemon: one that hangs must not keep the process from ending."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: Exception | None) -> None:
        if answer.done():
            return
        if error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(result)  # type: ignore[arg-type]  # None only where T admits it

    def run() -> None:
        result, failure = None, None
        try:
            result = question()
        except Exception as error:  # whatever a driver's binding raises belongs to the asker
            failure = error
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, result, failure)

    threading.Thread(target=run, name="driver", daemon=True).start()
    return answer
