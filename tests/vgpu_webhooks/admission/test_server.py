import asyncio
import logging
import socket

import pytest
from aiohttp import web

from vgpu_kube.testing import settle
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


async def test_a_request_half_sent_at_the_end_is_still_answered(port: int) -> None:
    began = asyncio.Event()

    async def handle(request: web.Request) -> web.Response:
        began.set()
        return web.Response(text=f"answered {await request.text()}")

    app = web.Application()
    app.add_routes([web.post("/", handle)])
    serving = server.served(app, context=None, host="127.0.0.1", port=port)
    await serving.__aenter__()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 4\r\n\r\nha")
    await began.wait()

    ending = asyncio.create_task(serving.__aexit__(None, None, None))
    await settle()
    writer.write(b"lf")
    text = (await reader.read()).decode()
    writer.close()
    await ending

    assert text.endswith("answered half")


async def test_nothing_in_flight_is_nothing_to_wait_for() -> None:
    await server.InFlight().landed(timeout_seconds=0)


async def test_a_taken_port_is_said_as_an_os_error(port: int) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()

        with pytest.raises(OSError, match=str(port)):
            await server.served(web.Application(), context=None, host="127.0.0.1", port=port).__aenter__()
