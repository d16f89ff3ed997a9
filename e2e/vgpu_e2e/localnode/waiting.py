"""What a queue before a service tells Prometheus: how many requests wait while no server is there."""

from typing import Self

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest


class Queue:
    """Serves /metrics with ``queue_requests_waiting`` inside the `async with`."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._waiting = Gauge("queue_requests_waiting", "Requests that wait.", registry=self._registry)
        self.url = ""

    def count(self, waiting: int) -> None:
        """From now on so many requests wait."""
        self._waiting.set(waiting)

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _metrics(self, _: web.Request) -> web.Response:
        body = generate_latest(self._registry)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})
