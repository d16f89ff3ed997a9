"""Replicas that sleep over HTTP, live: what one gives up others take, and it wakes into all that it had."""

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio

from vgpu_e2e import audit, objects, process, prometheus
from vgpu_e2e.localnode import cuda, serving
from vgpu_e2e.localnode.elastic import ElasticBed
from vgpu_e2e.localnode.service import Service, steps
from vgpu_e2e.team import Team

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(prometheus.missing() is not None, reason=prometheus.missing() or "it is there"),
]

GIB = 2**30
FLOOR, CEILING = objects.amounts("4Gi", 10), objects.amounts("24Gi", 40)
BATCHES = ("--batch-ms", "10", "--item-ms", "10", "--most", "8", "--weights-mib", "3072")
CACHE_MIB, LARGE_MIB = 16 * 1024, 44 * 1024
QUIET, BUSY = 1.0, 50.0  # requests per second; one slice at its ceiling serves about 35


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bed() -> AsyncIterator[ElasticBed]:
    async with ElasticBed(gpus=1) as running:
        await running.apply([objects.pool(compute_overcommit=100)])
        yield running


async def test_an_idle_replica_sleeps_its_memory_moves_and_it_wakes_into_all_it_had(
    bed: ElasticBed, team: Team
) -> None:
    chat = await _chat(bed, team)
    await team.claim("search", requests=objects.amounts("4Gi", 10), limits=objects.amounts("60Gi", 10))
    search = await serving.start(bed, team, "search")
    began = asyncio.get_running_loop().time()

    async with chat.driven(steps((1, BUSY)), seconds=300):
        await _until(lambda: _ready(chat, 2), "both replicas")
        await team.condition(chat.name, "ScalingLimited", reason="WithinBounds")
        await _until(lambda: _grown(chat), "the loop's answer to the load")
        replicas = await chat.replicas()
        await asyncio.gather(*(_fill(each) for each in replicas))
        assert await search.take(LARGE_MIB) == cuda.OUT_OF_MEMORY
    async with chat.driven(steps((1, QUIET)), seconds=300) as quiet:
        slept = await _seconds_until(lambda: _ready(chat, 1), quiet)
        [sleeper] = [each for each in replicas if await each.asleep()]
        gave = await _seconds_until(lambda: _has(sleeper, 4 * GIB), quiet)
        await _until(lambda: _takes(search, LARGE_MIB), "the memory that the sleeper gave up")
    refused = sleeper.usage().counters.refused

    async with chat.driven(steps((1, BUSY)), seconds=300):
        await _until(lambda: _busy(chat), "the loop's answer to the load")
        assert await sleeper.asleep()
        await team.delete([search.name])
        freed = asyncio.get_running_loop().time()
        woke = await _seconds_until(lambda: _awake(sleeper), freed)
        served = await _seconds_until(lambda: _ready(chat, 2), freed)

    print(
        f"after the load fell: asleep in {slept:.1f} s, memory given up in {gave:.1f} s; "
        f"after there was room again: awake in {woke:.1f} s, ready in {served:.1f} s"
    )
    assert (await sleeper.memory())["blocks"] == 1
    assert sleeper.usage().counters.refused == refused
    assert math.inf not in chat.latencies(since=began)
    assert audit.violations(await audit.look(bed.api)) == []


async def _chat(bed: ElasticBed, team: Team) -> Service:
    service = Service(bed, team, "chat")
    scaling = {"maxReplicas": 2, "workload": {"query": service.rate_query}}
    cooperation = {"type": "HTTPSleep", "port": serving.PORT}
    await service.claim(scaling, requests=FLOOR, limits=CEILING, cooperation=cooperation)
    await service.deploy(*BATCHES, replicas=2)
    return service


async def _fill(server: serving.Serving) -> None:
    """The server holds its cache, in a slice that has grown for it."""
    assert await server.take(CACHE_MIB) == cuda.OUT_OF_MEMORY
    await _until(lambda: _has(server, 19 * GIB), "room for a cache")
    assert await server.take(CACHE_MIB) == cuda.SUCCESS


async def _until(holds: Callable[[], Awaitable[bool]], awaited: str) -> None:
    await process.until(holds, timeout_seconds=90, awaited=awaited)


async def _seconds_until(holds: Callable[[], Awaitable[bool]], since: float) -> float:
    await _until(holds, "what follows")
    return asyncio.get_running_loop().time() - since


async def _ready(service: Service, count: int) -> bool:
    return service.servers == count


async def _takes(server: serving.Serving, mib: int) -> bool:
    return await server.take(mib) == cuda.SUCCESS


async def _has(server: serving.Serving, memory: int) -> bool:
    """A sleeper's slice falls to its floor exactly, one that grows may become larger."""
    asleep, limit = await server.asleep(), server.limits().memory_limit
    return bool(limit == memory if asleep else limit >= memory)


async def _awake(server: serving.Serving) -> bool:
    return not await server.asleep()


async def _busy(service: Service) -> bool:
    return bool(max((await service.slices()).values()) == CEILING["computePercent"])


async def _grown(service: Service) -> bool:
    """Both serve, and neither is on its way to sleep."""
    shares = (await service.slices()).values()
    return service.servers == 2 and all(share > FLOOR["computePercent"] for share in shares)
