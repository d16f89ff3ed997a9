"""Who gets a request: over real HTTP, servers that serve and servers that decline."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import aiohttp
from aiohttp import web

from vgpu_e2e import process
from vgpu_e2e.localnode import balancing

APP = ("team-a", "llm")


class Server:
    """Answers with the status that a test says, once it may, and counts."""

    def __init__(self, status: int = 200) -> None:
        self.status = status
        self.asked = 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def answer(self, _: web.Request) -> web.Response:
        self.asked += 1
        await self.may_answer.wait()
        return web.Response(status=self.status)


@contextlib.asynccontextmanager
async def serving(*servers: Server) -> AsyncIterator[list[str]]:
    """The servers' addresses while they are there."""
    async with contextlib.AsyncExitStack() as stack:
        addresses = []
        for each in servers:
            app = web.Application()
            app.router.add_post("/infer", each.answer)
            runner = web.AppRunner(app)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            addresses.append("{}:{}".format(*runner.addresses[0][:2]))
        yield addresses


async def until(holds: Callable[[], bool]) -> None:
    async def probe() -> bool:
        return holds()

    await process.until(probe, timeout_seconds=10, awaited="what the test does next")


async def test_a_request_that_a_sleeper_declines_goes_to_another_server() -> None:
    sleeper, awake = Server(503), Server()
    async with serving(sleeper, awake) as ready, aiohttp.ClientSession() as session:
        answer = await balancing.Balancer(lambda *_: ready).send(session, APP, "infer")

    assert answer is not None
    assert (answer.status, sleeper.asked, awake.asked) == (200, 1, 1)


async def test_the_server_with_the_fewest_inside_gets_the_next_request() -> None:
    servers = [Server(), Server()]
    for each in servers:
        each.may_answer.clear()
    async with serving(*servers) as ready, aiohttp.ClientSession() as session:
        balancer = balancing.Balancer(lambda *_: ready)
        asked = [asyncio.create_task(balancer.send(session, APP, "infer")) for _ in range(4)]
        await until(lambda: sum(each.asked for each in servers) == 4)
        for each in servers:
            each.may_answer.set()
        await asyncio.gather(*asked)

    assert [each.asked for each in servers] == [2, 2]


async def test_a_request_waits_for_the_first_server_and_is_counted_meanwhile() -> None:
    ready: list[str] = []
    balancer = balancing.Balancer(lambda *_: ready)
    async with serving(Server()) as there, aiohttp.ClientSession() as session:
        asked = asyncio.create_task(balancer.send(session, APP, "infer"))
        await until(lambda: balancer.waiting[APP] > 0)

        ready += there

        answer = await asked
    assert answer is not None
    assert (answer.status, balancer.waiting[APP]) == (200, 0)
