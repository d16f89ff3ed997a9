"""One address for all services of the local node, as a Service or an ingress would be: /NAMESPACE/APP/PATH.

A request goes to the ready server with the fewest inside, and waits a while where there is none. What waits
is a metric, so that a service without replicas can be woken by it.
"""

import asyncio
import collections

import aiohttp
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, generate_latest

from vgpu_e2e.localnode import discovery

WAIT_SECONDS = 30.0
LOOK_SECONDS = 0.05
LABELS = ("namespace", "app")


class Gateway:
    """The HTTP side."""

    def __init__(self, found: discovery.Discovery) -> None:
        self._discovery = found
        self._inside: collections.Counter[str] = collections.Counter()
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

    async def _session_lives(self, _: web.Application) -> "collections.abc.AsyncIterator[None]":
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as self._session:
            yield

    async def _forward(self, request: web.Request) -> web.Response:
        service = request.match_info["namespace"], request.match_info["app"]
        self._requests.labels(*service).inc()
        with self._waiting.labels(*service).track_inprogress():
            address = await self._free_server(*service)
        if address is None:
            raise web.HTTPServiceUnavailable(text=f"no server of {'/'.join(service)} is ready\n")
        self._inside[address] += 1
        try:
            url = f"http://{address}/{request.match_info['path']}"
            async with self._session.request(request.method, url, params=request.query) as answer:
                return web.Response(status=answer.status, body=await answer.read())
        except aiohttp.ClientError as error:
            raise web.HTTPBadGateway(text=f"{error}\n") from None
        finally:
            self._inside[address] -= 1

    async def _free_server(self, namespace: str, app: str) -> str | None:
        clock = asyncio.get_running_loop().time
        end = clock() + WAIT_SECONDS
        while clock() < end:
            found = [
                each.address
                for each in self._discovery.servers.values()
                if (each.namespace, each.app) == (namespace, app)
            ]
            if found:
                return min(found, key=self._inside.__getitem__)
            await asyncio.sleep(LOOK_SECONDS)
        return None

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(
            body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST}
        )
