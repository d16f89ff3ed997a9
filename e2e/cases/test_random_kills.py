"""A hundred SIGKILLs at random moments under load: nothing breaks, nothing leaks, nobody is stuck."""

import asyncio
import random
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from vgpu_e2e import audit, background, busy, objects, platform
from vgpu_e2e.team import Team

pytestmark = pytest.mark.asyncio(loop_scope="module")
BED = {"nodes": 6, "lease_seconds": 4}
POOLS = [objects.pool()]
KILLS = 100


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def everything_runs(bed: platform.Bed) -> AsyncIterator[None]:
    """Whatever a test has killed runs again before the next."""
    yield
    for service in (bed.admission, bed.operator, *bed.extenders):
        if not service.process.running:
            await service.restart()


async def test_a_hundred_random_kills_under_load_break_nothing(bed: platform.Bed, team: Team) -> None:
    chance = random.Random(2026)
    load = asyncio.create_task(busy.endless_load(team, chance))

    for _ in range(KILLS):
        await asyncio.sleep(chance.uniform(0.0, 1.0))
        await _kill_and_start(chance.choice([*bed.extenders, *bed.extenders, bed.operator, bed.admission]))
        assert audit.violations(await audit.look(bed.api)) == []

    load.cancel()
    await asyncio.gather(load, return_exceptions=True)
    await background.together(each.ready() for each in (bed.admission, bed.operator, *bed.extenders))
    await team.delete([pod["metadata"]["name"] for pod in await team.pods()][12:])
    await busy.sound(bed)


async def _kill_and_start(victim: platform.Service) -> None:
    await victim.process.killed()
    victim.process.start()
