"""How soon an owner that wakes has its compute back, and how soon idle compute is lent again."""

import asyncio
import time

import aiohttp

from agent import figures
from vgpu_e2e import objects
from vgpu_e2e.localnode import serving
from vgpu_e2e.localnode.bed import LocalBed
from vgpu_e2e.team import Team
from vgpu_shim.limits import LimitsPage

CLIENTS = 16
LATE_SECONDS = 5.0


async def measure(bed: LocalBed, *, count: int) -> list[figures.Figure]:
    """Return the figures of so many awakenings: 70 % owner, 30 % guest that is always busy."""
    team = Team(bed.api, "bench-loans")
    await team.arrive()
    await team.claim("owner", requests=objects.amounts("1Gi", 70))
    await team.claim("guest", requests=objects.amounts("1Gi", 30), limits=objects.amounts("1Gi", 100))
    owner = await serving.start(bed, team, "owner", "--item-ms", "3")
    guest = await serving.start(bed, team, "guest", "--busy", "--batch-ms", "2", "--item-ms", "0")
    returned, lent = [], []
    with LimitsPage(guest.slice_directory / "limits") as page:
        await _until(page, least=60)
        for _ in range(count):
            stop = asyncio.Event()
            began = time.perf_counter()
            flood = asyncio.create_task(_flood(owner, stop))
            returned.append(await _until(page, most=5) - began)
            await asyncio.sleep(0.5)
            stop.set()
            await flood
            began = time.perf_counter()
            lent.append(await _until(page, least=60) - began)
    await team.leave()
    return [
        *figures.spread(
            f"owner wakes to compute returned, {count} times", returned, bounds=("", "<= 100 ms")
        ),
        *figures.spread(f"owner idle to compute lent, {count} times", lent),
    ]


async def _until(page: LimitsPage, *, least: int = 0, most: int = 100) -> float:
    """Return when the guest's loan lies within bounds."""
    return await asyncio.to_thread(_wait, page, least, most)


def _wait(page: LimitsPage, least: int, most: int) -> float:
    deadline = time.perf_counter() + LATE_SECONDS
    while time.perf_counter() < deadline:
        seen = page.generation
        if least <= page.read(0).lent_percent <= most:
            return time.perf_counter()
        page.wait(seen, timeout_seconds=0.05)
    raise TimeoutError(f"expected a loan of {least} to {most} percent within {LATE_SECONDS:g} s")


async def _flood(server: serving.Serving, stop: asyncio.Event) -> None:
    async def one(session: aiohttp.ClientSession) -> None:
        while not stop.is_set():
            await server.infer(session)

    async with aiohttp.ClientSession() as session:
        await asyncio.gather(*(one(session) for _ in range(CLIENTS)))
