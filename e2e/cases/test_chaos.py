"""SIGKILL before and after every write: the invariants hold, no pod is stuck, no slice leaks."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from vgpu_e2e import busy, objects, platform, process
from vgpu_e2e.team import Team

pytestmark = pytest.mark.asyncio(loop_scope="module")
BED = {"nodes": 6, "lease_seconds": 4}
POOLS = [objects.pool()]

EXTENDER_POINTS = [
    f"{side}-{write}"
    for write in ("slice", "nominate", "ungate", "binding", "release", "grant")
    for side in ("before", "after")
]
OPERATOR_POINTS = [f"{write}-{side}-write" for write in ("status", "bounds") for side in ("before", "after")]
ADMISSION_POINTS = ["review-received", "review-decided"]


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def everything_runs(bed: platform.Bed) -> AsyncIterator[None]:
    """Whatever a test has killed runs again before the next."""
    yield
    for service in (bed.admission, bed.operator, *bed.extenders):
        if not service.process.running:
            await service.restart()


@pytest.mark.parametrize("point", EXTENDER_POINTS)
async def test_an_extender_killed_at_a_write_loses_and_doubles_nothing(
    bed: platform.Bed, team: Team, point: str
) -> None:
    await _die_and_rise(bed.extenders[0], team, point)

    await busy.sound(bed)


@pytest.mark.parametrize("point", OPERATOR_POINTS)
async def test_an_operator_killed_at_a_write_loses_and_doubles_nothing(
    bed: platform.Bed, team: Team, point: str
) -> None:
    await _die_and_rise(bed.operator, team, point)

    await busy.sound(bed)


@pytest.mark.parametrize("point", ADMISSION_POINTS)
async def test_a_killed_admission_lets_nothing_pass_unchanged(
    bed: platform.Bed, team: Team, point: str
) -> None:
    await _die_and_rise(bed.admission, team, point)

    await busy.sound(bed)


async def _die_and_rise(victim: platform.Service, team: Team, point: str) -> None:
    """Arm the victim, do everything that makes processes write, and start it again when it has died."""
    await victim.process.killed()
    victim.process.start(f"--crash-at={point}")
    with contextlib.suppress(process.StartError):  # its first write may come before it is ready
        await victim.ready()
    day = asyncio.create_task(busy.a_busy_day(team))

    async def died() -> bool:
        return not victim.process.running

    await process.until(died, timeout_seconds=40, awaited=f"{victim.process.name} to pass {point}")
    await victim.restart()
    await day
