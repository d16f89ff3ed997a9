"""Serving the application over TLS until a signal ends it, requests in flight included."""

import asyncio
import contextlib
import logging
import signal
from collections.abc import AsyncIterator

from aiohttp import web

from vgpu_kube import logs
from vgpu_webhooks.admission.certificates import Certificates

logger = logging.getLogger(__name__)

SHUTDOWN_SECONDS = 3.0
"""For requests in flight at the end; the API server waits five for an answer."""

LINGER_SECONDS = 1.0
"""How long the unread rest of a refused body may keep coming."""


@contextlib.asynccontextmanager
async def served(
    app: web.Application, *, certificates: Certificates, host: str, port: int
) -> AsyncIterator[None]:
    """Serves ``app`` within the block; raises OSError where the port cannot be had."""
    runner = web.AppRunner(
        app, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS, lingering_time=LINGER_SECONDS
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, ssl_context=certificates.context).start()
        logs.event(logger, logging.INFO, "admission serving", host=host, port=port)
        yield
    finally:
        await runner.cleanup()


async def until_stopped() -> None:
    """Returns at SIGTERM or SIGINT."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    await stopped.wait()
    logs.event(logger, logging.INFO, "admission stopping")
