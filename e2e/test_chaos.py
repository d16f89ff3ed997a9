"""SIGKILL at named points and at random: the invariants hold, no pod is stuck, no slice leaks."""

import asyncio
import contextlib
import itertools
import random
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio

from vgpu_e2e import audit, background, objects, platform, process, rest
from vgpu_e2e.team import Team

pytestmark = pytest.mark.asyncio(loop_scope="module")
BED = {"nodes": 6, "lease_seconds": 4}
POOLS = [objects.pool()]
RANDOM_KILLS = 100
LEAK_SECONDS = 30.0

EXTENDER_POINTS = [
    f"{side}-{write}"
    for write in ("slice", "binding", "release", "wake", "grant")
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

    await _sound(bed)


@pytest.mark.parametrize("point", OPERATOR_POINTS)
async def test_an_operator_killed_at_a_write_loses_and_doubles_nothing(
    bed: platform.Bed, team: Team, point: str
) -> None:
    await _die_and_rise(bed.operator, team, point)

    await _sound(bed)


@pytest.mark.parametrize("point", ADMISSION_POINTS)
async def test_a_killed_admission_lets_nothing_pass_unchanged(
    bed: platform.Bed, team: Team, point: str
) -> None:
    await _die_and_rise(bed.admission, team, point)

    await _sound(bed)


async def test_a_hundred_random_kills_under_load_break_nothing(bed: platform.Bed, team: Team) -> None:
    chance = random.Random(2026)
    load = asyncio.create_task(_endless_load(team, chance))

    for _ in range(RANDOM_KILLS):
        await asyncio.sleep(chance.uniform(0.0, 1.0))
        await _kill_and_start(chance.choice([*bed.extenders, *bed.extenders, bed.operator, bed.admission]))
        assert audit.violations(await audit.look(bed.api)) == []

    load.cancel()
    await asyncio.gather(load, return_exceptions=True)
    await background.together(each.ready() for each in (bed.admission, bed.operator, *bed.extenders))
    await team.delete([pod["metadata"]["name"] for pod in await team.pods()][12:])
    await _sound(bed)


async def _die_and_rise(victim: platform.Service, team: Team, point: str) -> None:
    """Arm the victim, do everything that makes processes write, and start it again when it has died."""
    await victim.restart(f"--crash-at={point}")
    day = asyncio.create_task(_a_busy_day(team))

    async def died() -> bool:
        return not victim.process.running

    await process.until(died, timeout_seconds=40, awaited=f"{victim.process.name} to pass {point}")
    await victim.restart()
    await day


async def _a_busy_day(team: Team) -> None:
    """Fill the cluster, overfill it, free some, and edit a claim: slices, waits, wakes, bounds and growth."""
    await _claim(team, "small", objects.amounts("10Gi", 10), objects.amounts("40Gi", 100))
    await _claim(team, "whole", objects.amounts("80Gi", 100), objects.amounts("80Gi", 100))
    await _insist(lambda: team.run("small", 4))
    await _insist(lambda: team.run("whole", 12))
    await _some_wait(team)
    await team.delete(["whole-0", "whole-1", "whole-2"])
    await _claim(team, "small", objects.amounts("15Gi", 15), objects.amounts("40Gi", 100))


async def _some_wait(team: Team) -> None:
    """Return once the cluster is full and some pod waits; small slices may lie on one GPU or on two."""

    async def full() -> bool:
        pods = await team.pods()
        return len(pods) == 16 and sum("nodeName" in pod["spec"] for pod in pods) in {14, 15}

    await process.until(full, timeout_seconds=60, awaited="a full cluster")


async def _claim(team: Team, name: str, requests: rest.Object, limits: rest.Object) -> None:
    await _insist(lambda: team.claim(name, requests=requests, limits=limits))


async def _insist(request: Callable[[], Awaitable[object]]) -> None:
    """Ask until the API server agrees: while admission is away it refuses, as it must."""

    async def agreed() -> bool:
        try:
            await request()
        except rest.ConflictError:
            return True  # the object is there already
        except rest.StatusError:
            return False
        return True

    await process.until(agreed, timeout_seconds=60, awaited="admission to be back")


async def _endless_load(team: Team, chance: random.Random) -> None:
    """Pods come and go, and a claim's bounds move, without end."""
    sizes = {"small": ("10Gi", 10), "large": ("70Gi", 60)}
    for name, (memory, compute) in sizes.items():
        await _claim(team, name, objects.amounts(memory, compute), objects.amounts("78Gi", 100))
    for number in itertools.count():
        name = chance.choice(sorted(sizes))
        with contextlib.suppress(rest.StatusError):
            await team.run(name, 2, prefix=f"{name}-{number}")
            floor = objects.amounts(f"{chance.choice([8, 12])}Gi", chance.choice([10, 20]))
            await team.claim("small", requests=floor, limits=objects.amounts("78Gi", 100))
        pods = [pod["metadata"]["name"] for pod in await team.pods()]
        await team.delete(chance.sample(pods, max(0, len(pods) - 16)))


async def _kill_and_start(victim: platform.Service) -> None:
    await victim.process.killed()
    victim.process.start()


async def _sound(bed: platform.Bed) -> None:
    """Everybody who asks for room that is there has it, and no slice is left over."""

    async def settled() -> bool:
        picture = await audit.look(bed.api)
        assert audit.violations(picture) == []
        return not picture.pending and not audit.leaked(picture)

    await process.until(
        settled, timeout_seconds=LEAK_SECONDS + 10, awaited="no stuck pod and no leaked slice"
    )
