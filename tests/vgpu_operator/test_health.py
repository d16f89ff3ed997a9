"""The operator's own endpoints."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client import CollectorRegistry

from vgpu.api import names
from vgpu_kube import health
from vgpu_kube.testing import Clock, Cluster
from vgpu_operator.metrics import Metrics
from vgpu_operator.view import CONTACT_SECONDS, View

Client = TestClient[web.Request, web.Application]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def view(clock: Clock) -> View:
    return View(Cluster(), clock=clock.monotonic)


@pytest.fixture
async def client(view: View) -> AsyncIterator[Client]:
    metrics = Metrics(CollectorRegistry())
    metrics.status_writes.labels(names.POOL_KIND).inc()
    app = health.create_app(metrics.registry, not_ready=view.lag)
    async with TestClient(TestServer(app)) as started:
        yield started


async def test_a_process_that_has_not_listed_everything_lives_and_is_not_ready(client: Client) -> None:
    assert (await client.get("/healthz")).status == 200
    answer = await client.get("/readyz")

    assert answer.status == 503
    assert "VGPUNodes are not listed yet" in await answer.text()


async def test_a_process_that_has_listed_everything_is_ready(client: Client, view: View) -> None:
    async with view.following():
        await view.synced()

        assert (await client.get("/readyz")).status == 200


async def test_a_process_that_hears_nothing_any_more_is_not_ready(
    client: Client, view: View, clock: Clock
) -> None:
    async with view.following():
        await view.synced()
        await clock.advance(CONTACT_SECONDS + 1)
        answer = await client.get("/readyz")

    assert answer.status == 503
    assert "nothing heard about VGPUNodes for 181 s" in await answer.text()


async def test_metrics_are_those_of_the_registry_given(client: Client) -> None:
    answer = await client.get("/metrics")

    assert 'vgpu_status_writes_total{kind="VGPUPool"} 1.0' in await answer.text()
