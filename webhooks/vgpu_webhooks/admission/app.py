"""The HTTP application: routes, limits, metrics. A value: everything it needs is an argument.

What is answered is decided in ``answers``; how reviews look on the wire is in ``review``.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import prometheus_client
from aiohttp import web

from vgpu.api import names
from vgpu_kube import crash, logs
from vgpu_webhooks.admission import answers, review
from vgpu_webhooks.admission.metrics import Metrics
from vgpu_webhooks.admission.view import View

logger = logging.getLogger(__name__)

MAX_BODY_BYTES = 3 * 1024**2
"""The API server itself takes no more than 3 MB from its clients."""

BODY_SECONDS = 5.0
"""For a body to arrive; the API server gives up on a webhook after as long."""

Handler = Callable[[web.Request], Awaitable[web.Response]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """One route: the resource it reviews and who answers."""

    path: str
    group: str
    plural: str
    answer: answers.Answer


WEBHOOKS = (
    Webhook(path="/mutate/pods", group="", plural="pods", answer=answers.mutate_pod),
    Webhook(path="/validate/pods", group="", plural="pods", answer=answers.validate_pod),
    Webhook(
        path="/default/claims", group=names.GROUP, plural=names.CLAIM_PLURAL, answer=answers.default_claim
    ),
    Webhook(
        path="/validate/claims", group=names.GROUP, plural=names.CLAIM_PLURAL, answer=answers.validate_claim
    ),
    Webhook(
        path="/validate/pools", group=names.GROUP, plural=names.POOL_PLURAL, answer=answers.validate_pool
    ),
)

ALIASES = (Webhook(path="/mutate/hami", group="", plural="pods", answer=answers.mutate_hami_pod),)
"""Served always, registered only where the chart's hami.aliases says so."""


def create_app(
    *, view: View, metrics: Metrics, clock: Callable[[], float] = time.perf_counter
) -> web.Application:
    """The application that answers from ``view`` and counts in ``metrics``."""
    app = web.Application(client_max_size=MAX_BODY_BYTES)
    app.add_routes(
        [web.post(each.path, _handler(each, view, metrics, clock)) for each in (*WEBHOOKS, *ALIASES)]
    )
    app.add_routes(
        [
            web.get("/healthz", _healthz),
            web.get("/readyz", _readyz(view)),
            web.get("/metrics", _metrics(metrics)),
        ]
    )
    return app


def _handler(webhook: Webhook, view: View, metrics: Metrics, clock: Callable[[], float]) -> Handler:
    seconds = metrics.seconds.labels(webhook.path)

    async def handle(request: web.Request) -> web.Response:
        if (refusal := _unreadable(request)) is not None:
            return refusal
        try:
            async with asyncio.timeout(BODY_SECONDS):
                body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            return _too_large("more")
        except TimeoutError:
            return _too_slow()
        began = clock()
        crash.point("review-received")
        response, result = await _reviewed(webhook, view, body)
        seconds.observe(clock() - began)
        metrics.answers.labels(webhook.path, result).inc()
        crash.point("review-decided")
        return response

    return handle


async def _reviewed(webhook: Webhook, view: View, body: bytes) -> tuple[web.Response, str]:
    try:
        asked = review.parse(body, group=webhook.group, plural=webhook.plural)
        verdict = await answers.decide(webhook.answer, view, asked)
    except review.MalformedReviewError as error:
        logs.event(logger, logging.WARNING, "review malformed", webhook=webhook.path, reason=error)
        return _malformed(error), "malformed"
    except Exception:  # a mistake of ours must end as one refused request, not as a lost connection
        logger.exception("review failed webhook=%s", webhook.path)
        return web.Response(status=500, text="admission failed on this request; its log says why\n"), "failed"
    if not verdict.allowed:
        logs.event(logger, logging.INFO, "review refused", webhook=webhook.path, reason=verdict.message)
    return _json(review.answer(asked.uid, verdict)), "allowed" if verdict.allowed else "refused"


def _unreadable(request: web.Request) -> web.Response | None:
    """What answers a request whose body is not worth reading."""
    if request.content_type != "application/json":
        return web.Response(
            status=415,
            text=f"expected Content-Type application/json, found {request.content_type}; "
            "send an AdmissionReview\n",
        )
    if (request.content_length or 0) > MAX_BODY_BYTES:
        return _too_large(str(request.content_length))
    return None


def _too_large(found: str) -> web.Response:
    response = web.Response(
        status=413, text=f"expected at most {MAX_BODY_BYTES} bytes, found {found}; send a smaller object\n"
    )
    response.force_close()  # the rest of the body is not read
    return response


def _too_slow() -> web.Response:
    response = web.Response(
        status=408, text=f"expected the whole body within {BODY_SECONDS:g} s, found less; send it again\n"
    )
    response.force_close()
    return response


def _malformed(error: review.MalformedReviewError) -> web.Response:
    """As a review where the request could be told apart, so that the API server shows the message."""
    if error.uid is None:
        return web.Response(status=400, text=f"{error}\n")
    return _json(review.answer(error.uid, review.refused(str(error), code=400)))


def _json(body: bytes) -> web.Response:
    return web.Response(body=body, content_type="application/json")


async def _healthz(_: web.Request) -> web.Response:
    return web.Response(text="ok\n")


def _readyz(view: View) -> Handler:
    async def readyz(_: web.Request) -> web.Response:
        reason = view.unready()
        return web.Response(text="ok\n") if reason is None else web.Response(status=503, text=f"{reason}\n")

    return readyz


def _metrics(metrics: Metrics) -> Handler:
    async def exposed(_: web.Request) -> web.Response:
        return web.Response(
            body=prometheus_client.generate_latest(metrics.registry),
            headers={"Content-Type": prometheus_client.CONTENT_TYPE_LATEST},
        )

    return exposed
