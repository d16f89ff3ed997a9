"""From a patched claim to the limit in force in the container, through the whole platform.

Two baselines: what a tool with fixed slices has, where the pod goes and comes again with the other size; and
what this API server takes by itself, from a patched ConfigMap to the news of it.
"""

import asyncio
import contextlib
import time
from typing import NamedTuple

from agent import figures
from vgpu_e2e import objects
from vgpu_e2e.localnode import serving
from vgpu_e2e.localnode.bed import LocalBed
from vgpu_e2e.team import Team
from vgpu_shim.limits import LimitsPage

GIB = 2**30
SIZES = (2, 3, 2, 4, 1)  # GiB, grown and shrunk in turn
LATE_SECONDS = 10.0
NEWS = "bench-news"


class Plan(NamedTuple):
    """How many live resizes with a pause between them, how many without one, how many by restart."""

    spaced: int
    pause: float
    storm: int
    restarts: int


async def measure(bed: LocalBed, plan: Plan) -> list[figures.Figure]:
    """Return the figures of all three."""
    team = Team(bed.api, "bench-resize")
    await team.arrive()
    await team.claim("llm", requests=objects.amounts("1Gi", 25))
    server = await serving.start(bed, team, "llm")
    news = await _news(team, plan.storm)
    live = await _live(team, server, plan.spaced, pause=plan.pause)
    storm = await _live(team, server, plan.storm, pause=0.0)
    await team.delete([server.name])
    again = await _by_restart(bed, team, plan.restarts)
    await team.leave()
    return [
        *figures.spread(
            f"claim patched to limit in force, {plan.spaced} resizes", live, bounds=("<= 50 ms", "<= 200 ms")
        ),
        *figures.spread(f"the same without a pause between, {plan.storm} resizes", storm),
        *figures.spread(f"an object patched to its watch event, {plan.storm} times", news),
        *figures.spread(f"the same by restarting the pod, {plan.restarts} times", again),
    ]


async def _live(team: Team, server: serving.Serving, count: int, *, pause: float) -> list[float]:
    latencies = []
    with LimitsPage(server.slice_directory / "limits") as page:
        for number in range(count):
            size = SIZES[number % len(SIZES)] * GIB
            watching = asyncio.create_task(asyncio.to_thread(_in_force, page, size))
            began = time.perf_counter()
            await _patch(team, size)
            latencies.append(await watching - began)
            await asyncio.sleep(pause)
    return latencies


def _in_force(page: LimitsPage, size: int) -> float:
    """Return when a limit of that size was there; the kernel wakes us with the shim's own waiters."""
    deadline = time.perf_counter() + LATE_SECONDS
    while True:
        seen = page.generation
        if page.read(0).memory_limit == size:
            return time.perf_counter()
        if time.perf_counter() > deadline:
            raise TimeoutError(f"expected a limit of {size} bytes within {LATE_SECONDS:g} s")
        page.wait(seen, timeout_seconds=0.5)


async def _news(team: Team, count: int) -> list[float]:
    """From a patch sent to the watch event of it, for an object that nobody looks after."""
    path = f"/api/v1/namespaces/{team.namespace}/configmaps"
    await team.api.create(path, {"metadata": {"name": NEWS}})
    latencies = []
    events = team.api.watch(path, parameters={"fieldSelector": f"metadata.name={NEWS}"})
    async with contextlib.aclosing(events):  # type: ignore[type-var]  # an async generator, typed as an iterator
        await anext(events)
        for number in range(count):
            began = time.perf_counter()
            await team.api.patch(f"{path}/{NEWS}", {"data": {"number": str(number)}})
            await anext(events)
            latencies.append(time.perf_counter() - began)
    return latencies


async def _by_restart(bed: LocalBed, team: Team, count: int) -> list[float]:
    latencies = []
    for number in range(count):
        size = f"{SIZES[number % len(SIZES)]}Gi"
        await team.claim("llm", requests=objects.amounts(size, 25))
        server = await serving.start(bed, team, "llm", pod=f"again-{number}")
        began = time.perf_counter()
        await team.delete([server.name])
        await serving.start(bed, team, "llm", pod=f"new-{number}")
        latencies.append(time.perf_counter() - began)
        await team.delete([f"new-{number}-0"])
    return latencies


async def _patch(team: Team, size: int) -> None:
    amounts = {"memory": f"{size // GIB}Gi", "computePercent": 25}
    change = {"spec": {"resources": {"requests": amounts, "limits": amounts}}}
    await team.api.patch(f"{team.claims_path}/llm", change)
