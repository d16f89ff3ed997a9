"""The extender over HTTP: kube-scheduler's three verbs, and what probes and Prometheus ask.

Bad input gets a 4xx with a sentence and never a traceback. kube-scheduler calls over localhost.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

import orjson
import prometheus_client as prometheus
from aiohttp import web

from vgpu_kube import logs
from vgpu_webhooks.extender import extender, wire

logger = logging.getLogger(__name__)

BODY_BYTES = 4 * 1024**2
"""The largest request: a Pod of at most 1.5 MB and some ten thousand node names."""

T = TypeVar("T")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def create_app(served: extender.Extender, registry: prometheus.CollectorRegistry) -> web.Application:
    """The application as a value; the extender has to be running already."""
    app = web.Application(client_max_size=BODY_BYTES, middlewares=[_clear_answers])
    app.router.add_post("/filter", _verb(wire.filter_args, served.answers.filter))
    app.router.add_post("/bind", _verb(wire.binding_args, served.answers.bind))
    app.router.add_post("/preempt", _verb(wire.preemption_args, served.answers.preempt))
    _add_outlook(app, served, registry)
    return app


def create_outlook(served: extender.Extender, registry: prometheus.CollectorRegistry) -> web.Application:
    """Only what probes and Prometheus ask, for a port that others than kube-scheduler can reach."""
    app = web.Application(middlewares=[_clear_answers])
    _add_outlook(app, served, registry)
    return app


def _add_outlook(
    app: web.Application, served: extender.Extender, registry: prometheus.CollectorRegistry
) -> None:
    app.router.add_get("/healthz", _healthz(served))
    app.router.add_get("/readyz", _readyz(served))
    app.router.add_get("/metrics", _metrics(registry))


def _verb(read: Callable[[bytes], T], answer: Callable[[T], Awaitable[bytes]]) -> Handler:
    async def handle(request: web.Request) -> web.Response:
        try:
            args = read(await request.read())
        except wire.MalformedRequest as error:
            return _error(400, str(error))
        return web.Response(body=await answer(args), content_type="application/json")

    return handle


def _healthz(served: extender.Extender) -> Handler:
    async def handle(_: web.Request) -> web.Response:
        if served.broken is not None:
            return web.Response(status=500, text=f"start it anew: {served.broken}\n")
        return web.Response(text="ok\n")

    return handle


def _readyz(served: extender.Extender) -> Handler:
    async def handle(_: web.Request) -> web.Response:
        reason = served.unready()
        if reason is not None:
            return web.Response(status=503, text=f"not ready: {reason}\n")
        return web.Response(text=f"ready: {served.role}\n")

    return handle


def _metrics(registry: prometheus.CollectorRegistry) -> Handler:
    async def handle(_: web.Request) -> web.Response:
        body = prometheus.generate_latest(registry)
        return web.Response(body=body, headers={"Content-Type": prometheus.CONTENT_TYPE_LATEST})

    return handle


@web.middleware
async def _clear_answers(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPRequestEntityTooLarge:
        return _error(413, f"expected a body of at most {BODY_BYTES} bytes, found a larger one: send less")
    except web.HTTPException as refusal:
        return _error(refusal.status, f"{request.method} {request.path}: {refusal.reason}")
    except Exception:  # the last door: a mistake of ours fails one request, with its trace in the log only
        logger.exception("request failed path=%s", request.path)
        return _error(500, "the extender made a mistake; its log says which")


def _error(status: int, message: str) -> web.Response:
    logs.event(logger, logging.WARNING, "request refused", status=status, reason=message)
    body = orjson.dumps({"Error": message})
    return web.Response(status=status, body=body, content_type="application/json")
