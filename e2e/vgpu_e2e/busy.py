"""Days full of writes for tests that kill: fill, overfill, free, resize; and what must be true at the end."""

import contextlib
import itertools
import random
from collections.abc import Awaitable, Callable

from vgpu_e2e import audit, objects, platform, process, rest
from vgpu_e2e.team import Team

LEAK_SECONDS = 30.0


async def a_busy_day(team: Team) -> None:
    """Fill the cluster, overfill it, free some, and edit a claim: slices, waits, wakes, bounds and growth."""
    await insist_on_claim(team, "small", objects.amounts("10Gi", 10), objects.amounts("40Gi", 100))
    await insist_on_claim(team, "whole", objects.amounts("80Gi", 100), objects.amounts("80Gi", 100))
    await insist(lambda: team.run("small", 4))
    await insist(lambda: team.run("whole", 12))
    await some_wait(team)
    await team.delete(["whole-0", "whole-1", "whole-2"])
    await insist_on_claim(team, "small", objects.amounts("15Gi", 15), objects.amounts("40Gi", 100))


async def some_wait(team: Team) -> None:
    """Return once the cluster is full and some pod waits; small slices may lie on one GPU or on two."""

    async def full() -> bool:
        pods = await team.pods()
        return len(pods) == 16 and sum("nodeName" in pod["spec"] for pod in pods) in {14, 15}

    await process.until(full, timeout_seconds=60, awaited="a full cluster")


async def insist_on_claim(team: Team, name: str, requests: rest.Object, limits: rest.Object) -> None:
    await insist(lambda: team.claim(name, requests=requests, limits=limits))


async def insist(request: Callable[[], Awaitable[object]]) -> None:
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


async def endless_load(team: Team, chance: random.Random) -> None:
    """Pods come and go, and a claim's bounds move, without end."""
    sizes = {"small": ("10Gi", 10), "large": ("70Gi", 60)}
    for name, (memory, compute) in sizes.items():
        await insist_on_claim(team, name, objects.amounts(memory, compute), objects.amounts("78Gi", 100))
    for number in itertools.count():
        name = chance.choice(sorted(sizes))
        with contextlib.suppress(rest.StatusError):
            await team.run(name, 2, prefix=f"{name}-{number}")
            floor = objects.amounts(f"{chance.choice([8, 12])}Gi", chance.choice([10, 20]))
            await team.claim("small", requests=floor, limits=objects.amounts("78Gi", 100))
        pods = [pod["metadata"]["name"] for pod in await team.pods()]
        await team.delete(chance.sample(pods, max(0, len(pods) - 16)))


async def sound(bed: platform.Bed) -> None:
    """Everybody who asks for room that is there has it, and no slice is left over."""

    async def settled() -> bool:
        picture = await audit.look(bed.api)
        assert audit.violations(picture) == []
        return not picture.pending and not audit.leaked(picture)

    await process.until(
        settled, timeout_seconds=LEAK_SECONDS + 10, awaited="no stuck pod and no leaked slice"
    )
