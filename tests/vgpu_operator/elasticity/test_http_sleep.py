"""The door to applications that sleep, over real HTTP: vLLM's own answers, refusals and silence."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from aiohttp import web

from vgpu_operator.elasticity import http_sleep
from vgpu_operator.elasticity.sleepers import Silent


class Application:
    """Answers as vLLM does, or with what a test says."""

    def __init__(self) -> None:
        self.asleep = False
        self.status = 200
        self.says: object = None
        self.address = ""

    async def turn(self, request: web.Request) -> web.Response:
        if request.path == "/sleep":
            assert request.query == {"level": "1"}
        self.asleep = request.path == "/sleep"
        return web.Response(status=self.status)

    async def look(self, _: web.Request) -> web.Response:
        return web.json_response(self.says or {"is_sleeping": self.asleep}, status=self.status)


@pytest_asyncio.fixture
async def application() -> AsyncIterator[Application]:
    made = Application()
    app = web.Application()
    app.router.add_post("/sleep", made.turn)
    app.router.add_post("/wake_up", made.turn)
    app.router.add_get("/is_sleeping", made.look)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.address = "{}:{}".format(*runner.addresses[0][:2])
    yield made
    await runner.cleanup()


async def test_an_application_sleeps_and_wakes(application: Application) -> None:
    door = http_sleep.Door()

    await door.sleep(application.address)
    asleep = await door.asleep(application.address)
    await door.wake(application.address)

    assert (asleep, await door.asleep(application.address)) == (True, False)


@pytest.mark.parametrize("says", [["yes"], {"is_sleeping": "true"}, {"state": 1}])
async def test_an_answer_that_means_nothing_is_none(application: Application, says: object) -> None:
    application.says = says

    with pytest.raises(Silent, match="expected is_sleeping true or false"):
        await http_sleep.Door().asleep(application.address)


async def test_a_refusal_is_said_so(application: Application) -> None:
    application.status = 507

    with pytest.raises(Silent, match="/wake_up answers 507"):
        await http_sleep.Door().wake(application.address)


async def test_nobody_there_is_said_so() -> None:
    with pytest.raises(Silent, match="gives no answer"):
        await http_sleep.Door().asleep("127.0.0.1:9")
