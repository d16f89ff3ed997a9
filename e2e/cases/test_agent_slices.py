"""Pods on the local node feel their slices: memory, compute, loans, and live changes of all three."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio

from vgpu_e2e import audit, objects, process
from vgpu_e2e.localnode import cuda, serving
from vgpu_e2e.localnode.bed import LocalBed
from vgpu_e2e.team import Team

pytestmark = pytest.mark.asyncio(loop_scope="module")
MIB = 2**20
GIB = 2**30


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bed() -> AsyncIterator[LocalBed]:
    async with LocalBed(gpus=1) as running:
        await running.apply([objects.pool()])
        yield running


async def test_a_slice_that_is_full_gets_cudas_own_out_of_memory_and_no_other_notices(
    bed: LocalBed, team: Team
) -> None:
    await team.claim("small", requests=objects.amounts("1Gi", 30))
    await team.claim("large", requests=objects.amounts("40Gi", 70))
    small, large = await asyncio.gather(serving.start(bed, team, "small"), serving.start(bed, team, "large"))

    results = [await small.take(300) for _ in range(4)]

    assert results == [cuda.SUCCESS] * 3 + [cuda.OUT_OF_MEMORY]
    assert await small.memory() == {"free": 124 * MIB, "total": GIB, "blocks": 3}
    assert await large.take(30 * 1024) == cuda.SUCCESS
    assert (await large.memory())["total"] == 40 * GIB


async def test_busy_slices_get_the_compute_they_hold(bed: LocalBed, team: Team) -> None:
    for name, percent in (("third", 30), ("rest", 70)):
        await team.claim(name, requests=objects.amounts("1Gi", percent))
    third, rest = await asyncio.gather(
        *(serving.start(bed, team, name, "--busy") for name in ("third", "rest"))
    )

    async def as_held() -> bool:
        shares = await asyncio.gather(third.gpu_percent(seconds=4), rest.gpu_percent(seconds=4))
        return shares == pytest.approx([30, 70], abs=6)

    # The simulated GPU runs on this machine's cores: while others have them, neither slice gets its share.
    await process.until(as_held, timeout_seconds=60, awaited="shares of 30 and 70 percent")


async def test_idle_compute_is_lent_up_to_the_ceiling_and_returned(bed: LocalBed, team: Team) -> None:
    await team.claim("owner", requests=objects.amounts("1Gi", 70))
    await team.claim("guest", requests=objects.amounts("1Gi", 30), limits=objects.amounts("1Gi", 90))
    owner = await serving.start(bed, team, "owner")
    guest = await serving.start(bed, team, "guest", "--busy")
    await process.until(
        lambda: _lent(guest, at_least=55), timeout_seconds=30, awaited="idle compute to be lent"
    )

    async def borrows() -> bool:
        return await guest.gpu_percent(seconds=2) > 75

    await process.until(borrows, timeout_seconds=60, awaited="the guest to use what it is lent")
    async with _flooded(owner):
        await process.until(
            lambda: _lent(guest, below=20), timeout_seconds=30, awaited="the owner's compute to be returned"
        )


async def test_a_live_resize_reaches_the_running_process(bed: LocalBed, team: Team) -> None:
    await team.claim("llm", requests=objects.amounts("1Gi", 25), limits=objects.amounts("40Gi", 100))
    server = await serving.start(bed, team, "llm")
    assert await server.take(2048) == cuda.OUT_OF_MEMORY

    await team.claim("llm", requests=objects.amounts("4Gi", 25), limits=objects.amounts("40Gi", 100))

    await process.until(
        lambda: _total(server, 4 * GIB), timeout_seconds=5, awaited="the grown limit in the process"
    )
    assert await server.take(2048) == cuda.SUCCESS


async def test_a_shrink_takes_nothing_away_and_is_confirmed_when_the_memory_is_free(
    bed: LocalBed, team: Team
) -> None:
    await team.claim("llm", requests=objects.amounts("4Gi", 25))
    server = await serving.start(bed, team, "llm")
    assert [await server.take(1024) for _ in range(3)] == [cuda.SUCCESS] * 3

    await team.claim("llm", requests=objects.amounts("1Gi", 25))

    await process.until(
        lambda: _report(bed, "Shrinking", 3 * GIB), timeout_seconds=5, awaited="a slice that shrinks"
    )
    assert await server.memory() == {"free": 0, "total": GIB, "blocks": 3}
    assert await server.take(1) == cuda.OUT_OF_MEMORY
    await server.ask("DELETE", "/memory?blocks=2")
    await process.until(
        lambda: _report(bed, "Applied", GIB), timeout_seconds=5, awaited="the shrink to be confirmed"
    )


async def test_pods_of_a_shared_claim_have_one_joint_limit(bed: LocalBed, team: Team) -> None:
    await team.claim("joint", mode="Shared", requests=objects.amounts("2Gi", 40))
    uid = (await bed.api.get(f"{team.claims_path}/joint"))["metadata"]["uid"]
    one, two = await asyncio.gather(
        *(serving.start(bed, team, "joint", pod=name, slice_id=uid) for name in ("one", "two"))
    )

    assert await one.take(1536) == cuda.SUCCESS
    assert await two.take(1024) == cuda.OUT_OF_MEMORY
    assert await two.take(512) == cuda.SUCCESS

    await team.delete([one.name])
    await process.until(lambda: _free(two, 1536 * MIB), timeout_seconds=5, awaited="its memory to be free")


async def test_pressure_is_reported_within_a_second_or_two(bed: LocalBed, team: Team) -> None:
    await team.claim("tight", requests=objects.amounts("1Gi", 10))
    server = await serving.start(bed, team, "tight", "--busy")
    await server.take(2048)

    await process.until(
        lambda: _pressed(bed, {"Throttled", "MemoryRefused"}), timeout_seconds=4, awaited="pressure"
    )


async def _lent(server: serving.Serving, *, at_least: int = 0, below: int = 100) -> bool:
    return at_least <= server.limits().lent_percent < below


@contextlib.asynccontextmanager
async def _flooded(server: serving.Serving) -> AsyncIterator[None]:
    """As many requests as the server takes, inside the context."""
    stop = asyncio.Event()

    async def one(session: aiohttp.ClientSession) -> None:
        while not stop.is_set():
            await server.infer(session)

    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as clients:
        for _ in range(16):
            clients.create_task(one(session))
        try:
            yield
        finally:
            stop.set()


async def _total(server: serving.Serving, size: int) -> bool:
    return bool((await server.memory())["total"] == size)


async def _free(server: serving.Serving, size: int) -> bool:
    return bool((await server.memory())["free"] == size)


async def _report(bed: LocalBed, state: str, memory_bytes: int) -> bool:
    picture = await audit.look(bed.api)
    reports = [each for node in picture.nodes for each in node.enforced.values()]
    return [(each.state.value, each.memory_bytes) for each in reports] == [(state, memory_bytes)]


async def _pressed(bed: LocalBed, lacks: set[str]) -> bool:
    node = await bed.api.get(f"/apis/vgpu.dev/v1alpha1/vgpunodes/{bed.nodes[0]}")
    return any(lacks <= set(each["pressure"]) for each in node["status"]["slices"].values())
