"""Serving the application over TLS until a signal ends it, requests in flight included."""

import asyncio
import contextlib
import logging
import signal
import ssl
from collections.abc import AsyncIterator

from aiohttp import web
from aiohttp.http import HttpProcessingError

from vgpu_kube import logs
from vgpu_webhooks.admission import shape

logger = logging.getLogger(__name__)

HTTP_LOGGER = logging.getLogger("aiohttp.server")

SHUTDOWN_SECONDS = 3.0
"""For requests in flight at the end; the API server waits five for an answer."""

LINGER_SECONDS = 1.0
"""How long the unread rest of a refused body may keep coming."""


@contextlib.asynccontextmanager
async def served(
    app: web.Application, *, context: ssl.SSLContext | None, host: str, port: int
) -> AsyncIterator[None]:
    """Serves ``app`` within the block, over TLS where a context is given.

    Raises OSError where the port cannot be had.
    """
    HTTP_LOGGER.addFilter(plainly)
    runner = web.AppRunner(
        app, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS, lingering_time=LINGER_SECONDS
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, ssl_context=context).start()
        logs.event(logger, logging.INFO, "admission serving", host=host, port=port)
        yield
    finally:
        await runner.cleanup()
        HTTP_LOGGER.removeFilter(plainly)


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
