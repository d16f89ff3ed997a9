import asyncio
import logging
import socket

import pytest
from aiohttp import web

from vgpu_webhooks.admission import server


@pytest.fixture
def port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        number: int = found.getsockname()[1]
        return number


async def sent(port: int, data: bytes) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    text = (await reader.read()).decode()
    writer.close()
    return text


@pytest.mark.parametrize(
    "data", [b"\x00\x01\r\n\r\n", b"GET / HTTP/1.1\r\nA: " + b"x" * 50_000 + b"\r\n\r\n"]
)
async def test_what_is_no_http_is_a_warning_of_one_line(
    port: int, data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with server.served(web.Application(), context=None, host="127.0.0.1", port=port):
        text = await sent(port, data)

    said = [record for record in caplog.records if record.name == "aiohttp.server"]
    assert " 400 " in text
    assert all(record.levelno == logging.WARNING and record.exc_info is None for record in said)


async def test_a_request_in_flight_is_answered_before_the_end(port: int) -> None:
    began, may_end = asyncio.Event(), asyncio.Event()

    async def handle(_: web.Request) -> web.Response:
        began.set()
        await may_end.wait()
        return web.Response(text="answered")

    app = web.Application()
    app.add_routes([web.get("/", handle)])
    async with server.served(app, context=None, host="127.0.0.1", port=port):
        asking = asyncio.create_task(sent(port, b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
        await began.wait()
        asyncio.get_running_loop().call_soon(may_end.set)

    assert (await asking).endswith("answered")


async def test_a_taken_port_is_said_as_an_os_error(port: int) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()

        with pytest.raises(OSError, match=str(port)):
            await server.served(web.Application(), context=None, host="127.0.0.1", port=port).__aenter__()
