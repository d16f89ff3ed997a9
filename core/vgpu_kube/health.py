"""A process's own HTTP endpoints: /healthz, /readyz and /metrics.

They say how the process is. What is counted, and what makes it ready, is the process's to say; what the
cluster is like stands in the statuses of its objects.
"""

from collections.abc import Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest


def create_app(registry: CollectorRegistry, *, not_ready: Callable[[], str | None]) -> web.Application:
    """The endpoints as a value; ``not_ready`` gives the reason why the process is not, or None."""

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_: web.Request) -> web.Response:
        reason = not_ready()
        if reason is None:
            return web.Response(text="ok\n")
        return web.Response(status=503, text=f"not ready: {reason}\n")

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", metrics)
    return app


async def serve(app: web.Application, *, host: str, port: int) -> web.AppRunner:
    """Serves the endpoints until the runner's ``cleanup``; raises OSError where the port is taken."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    return runner
