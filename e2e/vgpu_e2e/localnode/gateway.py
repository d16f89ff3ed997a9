"""One address for all services of the local node, as an ingress would be: /NAMESPACE/APP/PATH.

What waits there for a server is a metric, so that a service without replicas can be woken by it. Who gets
which request stands in ``balancing``.
"""

from collections.abc import AsyncIterator

import aiohttp
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, generate_latest

from vgpu_e2e.localnode import balancing, discovery

LABELS = ("namespace", "app")


class Gateway:
    """The HTTP side."""

    def __init__(self, found: discovery.Discovery) -> None:
        self._balancer = balancing.Balancer(found.ready)
        self._registry = CollectorRegistry()
        self._requests = Counter("gateway_requests_total", "Requests.", LABELS, registry=self._registry)
        self._waiting = Gauge(
            "gateway_requests_waiting", "Requests that no server takes yet.", LABELS, registry=self._registry
        )

    def app(self) -> web.Application:
        """Return the endpoints."""
        app = web.Application()
        app.cleanup_ctx.append(self._session_lives)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_route("*", "/{namespace}/{app}/{path:.*}", self._forward)
        return app

    async def _session_lives(self, _: web.Application) -> AsyncIterator[None]:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as self._session:
            yield

    async def _forward(self, request: web.Request) -> web.Response:
        about = request.match_info
        app = about["namespace"], about["app"]
        self._requests.labels(*app).inc()
        try:
            answer = await self._balancer.send(
                self._session, app, about["path"], method=request.method, query=request.query
            )
        except aiohttp.ClientError as error:
            raise web.HTTPBadGateway(text=f"{error}\n") from None
        if answer is None:
            raise web.HTTPServiceUnavailable(text=f"no server of {'/'.join(app)} is ready\n")
        return web.Response(status=answer.status, body=answer.body)

    async def _metrics(self, _: web.Request) -> web.Response:
        for app, count in self._balancer.waiting.items():
            self._waiting.labels(*app).set(count)
        return web.Response(
            body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST}
        )
