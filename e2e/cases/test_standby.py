"""Two extenders, each beside its own scheduler, one at work: killing it loses no pod and doubles nothing."""

import asyncio

import aiohttp
import pytest

from vgpu_e2e import audit, objects, platform, process
from vgpu_e2e.team import Team

pytestmark = pytest.mark.asyncio(loop_scope="module")
BED = {"nodes": 8, "extenders": 2, "lease_seconds": 4}
POOLS = [objects.pool()]
QUARTER = objects.amounts("20Gi", 25)


async def test_killing_the_active_pair_under_load_loses_no_pod(bed: platform.Bed, team: Team) -> None:
    await team.claim("llm", requests=QUARTER)
    await team.run("llm", 8)
    await team.bound(8)
    active = await _active(bed)

    creating = asyncio.create_task(team.run("llm", 40, prefix="more"))
    bed.extenders[active].process.kill()
    bed.schedulers[active].process.kill()
    await creating

    await team.bound(48, within_seconds=60)
    assert audit.violations(await audit.look(bed.api)) == []
    assert await _active(bed) == 1 - active
    bed.schedulers[active].process.start()
    await bed.extenders[active].restart()


async def test_a_standby_that_is_asked_writes_nothing(bed: platform.Bed, team: Team) -> None:
    active = await _active(bed)
    standby = bed.extenders[1 - active]
    before = await audit.look(bed.api)

    async with (
        aiohttp.ClientSession() as session,
        session.post(
            f"{standby.url}/bind",
            json={"PodName": "p", "PodNamespace": team.namespace, "PodUID": "u", "Node": bed.nodes[0]},
        ) as response,
    ):
        error = (await response.json(content_type=None))["Error"]

    assert error
    assert await audit.look(bed.api) == before


async def _active(bed: platform.Bed) -> int:
    """The index of the extender that says it is active."""
    found: list[int] = []

    async def one() -> bool:
        found[:] = [index for index, each in enumerate(bed.extenders) if await _says_active(each)]
        return len(found) == 1

    await process.until(one, timeout_seconds=20, awaited="exactly one active extender")
    return found[0]


async def _says_active(extender: platform.Service) -> bool:
    try:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{extender.url}/readyz") as response,
        ):
            return (await response.text()).startswith("ready: active")
    except aiohttp.ClientError:
        return False
