"""The door to Prometheus over real HTTP: answers, refusals, silence and strangers."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio
from aiohttp import web

from vgpu_operator.elasticity import prometheus

Handler = Callable[[web.Request], Awaitable[web.Response]]


class Stranger:
    """An HTTP server that answers what a test says."""

    def __init__(self) -> None:
        self.handler: Handler = _nothing
        self.asked: dict[str, str] = {}
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        self.asked = dict(request.query)
        return await self.handler(request)


@pytest_asyncio.fixture
async def stranger() -> AsyncIterator[Stranger]:
    found = Stranger()
    app = web.Application()
    app.router.add_post("/api/v1/query_range", found.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    found.url = f"http://{host}:{port}"
    yield found
    await runner.cleanup()


async def _nothing(_: web.Request) -> web.Response:
    return web.json_response({"status": "success", "data": {"resultType": "matrix", "result": []}})


async def test_series_come_back_second_by_second(stranger: Stranger) -> None:
    async def found(_: web.Request) -> web.Response:
        result = [{"metric": {"a": "b"}, "values": [[100, "1"], [101, "2"]]}]
        return web.json_response({"status": "success", "data": {"result": result}})

    stranger.handler = found
    server = prometheus.Server(stranger.url + "/")

    (only,) = await server.ranges("up", start=100, end=101)

    server.close()
    assert only.points == ((100.0, 1.0), (101.0, 2.0))
    asked = {name: stranger.asked[name] for name in ("query", "start", "end", "step", "lookback_delta")}
    assert asked == {"query": "up", "start": "100", "end": "101", "step": "1", "lookback_delta": "15s"}


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (400, {"status": "error", "error": "parse error: unclosed"}, prometheus.Rejected),
        (422, {"status": "error", "error": "many-to-many matching"}, prometheus.Rejected),
        (503, {"status": "error", "errorType": "timeout", "error": "query timed out"}, prometheus.Rejected),
        (503, {"status": "error", "error": "starting up"}, prometheus.Away),
        (200, {"hello": "world"}, prometheus.Away),
        (200, {"data": {"result": "text"}}, prometheus.Away),
    ],
)
async def test_errors_speak_of_the_query_or_of_the_server(
    stranger: Stranger, status: int, body: dict[str, object], error: type[Exception]
) -> None:
    async def refused(_: web.Request) -> web.Response:
        return web.json_response(body, status=status)

    stranger.handler = refused
    server = prometheus.Server(stranger.url)

    with pytest.raises(error) as told:
        await server.ranges("up", start=0, end=1)

    server.close()
    assert str(body.get("error", "no Prometheus")) in str(told.value)


async def test_a_silent_server_is_given_up(stranger: Stranger) -> None:
    let_go = asyncio.Event()

    async def silent(_: web.Request) -> web.Response:
        await let_go.wait()
        return web.Response()

    stranger.handler = silent
    server = prometheus.Server(stranger.url, timeout_seconds=0.5)

    with pytest.raises(prometheus.Away, match=r"no answer from Prometheus within 0\.5 s"):
        await server.ranges("up", start=0, end=1)

    let_go.set()
    server.close()


async def test_nobody_there_is_said_so() -> None:
    server = prometheus.Server("http://127.0.0.1:9")

    with pytest.raises(prometheus.Away, match="Prometheus cannot be reached"):
        await server.ranges("up", start=0, end=1)

    server.close()
