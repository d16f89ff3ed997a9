"""Serving the application over TLS until a signal ends it, requests in flight included."""

import asyncio
import contextlib
import logging
import signal
import ssl
from collections.abc import AsyncIterator

from aiohttp import web
from aiohttp.http import HttpProcessingError
from aiohttp.typedefs import Handler, Middleware

from vgpu_kube import logs
from vgpu_webhooks.admission import shape

logger = logging.getLogger(__name__)

HTTP_LOGGER = logging.getLogger("aiohttp.server")

DRAIN_SECONDS = 2.0
"""For requests in flight at the end, their bodies included; far longer than any takes."""

CLOSE_SECONDS = 1.0
"""For what is still there after that."""

LINGER_SECONDS = 1.0
"""How long the unread rest of a refused body may keep coming."""


@contextlib.asynccontextmanager
async def served(
    app: web.Application, *, context: ssl.SSLContext | None, host: str, port: int
) -> AsyncIterator[None]:
    """Serves ``app`` within the block, over TLS where a context is given.

    Raises OSError where the port cannot be had.
    """
    flight = InFlight()
    app.middlewares.append(flight.middleware())
    HTTP_LOGGER.addFilter(plainly)
    runner = web.AppRunner(
        app, access_log=None, shutdown_timeout=CLOSE_SECONDS, lingering_time=LINGER_SECONDS
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port, ssl_context=context)
        await site.start()
        logs.event(logger, logging.INFO, "admission serving", host=host, port=port)
        yield
        await site.stop()
        await flight.landed(DRAIN_SECONDS)
    finally:
        await runner.cleanup()
        HTTP_LOGGER.removeFilter(plainly)


class InFlight:
    """Counts the requests that are being answered.

    aiohttp's own shutdown waits for them too, but drops what is still to come of their bodies.
    """

    def __init__(self) -> None:
        self._count = 0
        self._none = asyncio.Event()
        self._none.set()

    def middleware(self) -> Middleware:
        """What counts, for an application's list of middlewares."""

        @web.middleware
        async def counted(request: web.Request, handler: Handler) -> web.StreamResponse:
            self._count += 1
            self._none.clear()
            try:
                return await handler(request)
            finally:
                self._count -= 1
                if not self._count:
                    self._none.set()

        return counted

    async def landed(self, timeout_seconds: float) -> None:
        """Returns when none is left, or when the time is up."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds):
                await self._none.wait()


def plainly(record: logging.LogRecord) -> bool:
    """Makes a warning of a record about what was no HTTP; aiohttp logs it like a mistake of its own."""
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, HttpProcessingError):
        reason = shape.shortened(" ".join(str(error).split()))
        record.levelno, record.levelname = logging.WARNING, "WARNING"
        record.msg, record.args, record.exc_info = f"request malformed reason={reason!r}", (), None
    return True


async def until_stopped() -> None:
    """Returns at SIGTERM or SIGINT."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    await stopped.wait()
    logs.event(logger, logging.INFO, "admission stopping")
