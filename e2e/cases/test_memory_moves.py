"""Memory moves between two services on one card, as far as they give it back."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from vgpu_e2e import audit, objects, process
from vgpu_e2e.localnode import cuda, serving
from vgpu_e2e.localnode.bed import LocalBed
from vgpu_e2e.team import Team

pytestmark = pytest.mark.asyncio(loop_scope="module")
GIB = 2**30


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bed() -> AsyncIterator[LocalBed]:
    async with LocalBed(gpus=1) as running:
        await running.apply([objects.pool()])
        yield running


async def test_a_cooperating_service_makes_room_for_another_without_a_restart(
    bed: LocalBed, team: Team
) -> None:
    await team.claim("cache", requests=objects.amounts("60Gi", 30))
    await team.claim("llm", requests=objects.amounts("10Gi", 30), limits=objects.amounts("60Gi", 60))
    cache, llm = await asyncio.gather(
        serving.start(bed, team, "cache", "--cooperate", "--weights-mib", "4096"),
        serving.start(bed, team, "llm"),
    )
    assert [await cache.take(8192) for _ in range(6)] == [cuda.SUCCESS] * 6  # 52 of 60 GiB

    await team.claim("cache", requests=objects.amounts("20Gi", 30))
    await team.claim("llm", requests=objects.amounts("50Gi", 30), limits=objects.amounts("60Gi", 60))

    await process.until(
        lambda: _limit(llm, 50 * GIB), timeout_seconds=20, awaited="the memory that the cache gave back"
    )
    assert await llm.take(48 * 1024) == cuda.SUCCESS
    assert await cache.memory() == {"free": 0, "total": 20 * GIB, "blocks": 2}
    assert audit.violations(await audit.look(bed.api)) == []


async def test_a_service_that_cannot_give_back_says_why(bed: LocalBed, team: Team) -> None:
    await team.claim("heavy", requests=objects.amounts("20Gi", 30))
    server = await serving.start(bed, team, "heavy", "--cooperate", "--weights-mib", "8192")

    await team.claim("heavy", requests=objects.amounts("4Gi", 30))

    await process.until(
        lambda: _says(bed, "weights stay until the server sleeps"),
        timeout_seconds=20,
        awaited="the application's own reason in the status",
    )
    status, _ = await server.ask("POST", "/sleep?level=1")
    assert status == 200
    await process.until(lambda: _says(bed, ""), timeout_seconds=20, awaited="the memory to be free")
    assert (await server.ask("GET", "/is_sleeping"))[1] == {"is_sleeping": True}


async def _limit(server: serving.Serving, memory: int) -> bool:
    return server.limits().memory_limit == memory


async def _says(bed: LocalBed, words: str) -> bool:
    [node] = (await bed.api.get("/apis/vgpu.dev/v1alpha1/vgpunodes"))["items"]
    messages = [each.get("message", "") for each in node.get("status", {}).get("slices", {}).values()]
    return any(words in message for message in messages) if words else not any(messages)
