"""Room for pods that wait: growth goes back to floors, pods move where pool and budgets allow."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from vgpu_e2e import audit, gpunodes, objects, platform, process
from vgpu_e2e.rest import Object
from vgpu_e2e.team import Team

pytestmark = pytest.mark.asyncio(loop_scope="module")
BED = {"nodes": 2, "shape": gpunodes.NodeShape(gpus=1)}
FLOOR = objects.amounts("20Gi", 20)
GROWN = objects.amounts("60Gi", 60)
LARGE = objects.amounts("60Gi", 50)


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def the_operator_runs(bed: platform.Bed) -> AsyncIterator[None]:
    """Whatever a test has killed runs again before the next."""
    yield
    if not bed.operator.process.running:
        await bed.operator.restart()


async def _pool(bed: platform.Bed, moves: str = "Propose") -> None:
    """Two nodes of one GPU; pods spread over them."""
    pool = objects.pool(strategy="Spread")
    pool["spec"]["reclaim"] = {"moves": moves}
    await bed.apply([pool])


async def _grown(bed: platform.Bed, team: Team) -> dict[str, str]:
    """Two claims that have grown over a GPU each; slice ids by claim."""
    for name, priority in (("low", -1), ("high", 1)):
        await team.claim(name, requests=FLOOR, limits=GROWN, priority=priority)
        await team.run(name)
    await team.bound(2)
    for node, slice_ in (await audit.look(bed.api)).slices:
        change = {"revision": node.revision + 1, "slices": {slice_.id: {"wanted": GROWN}}}
        await bed.api.patch(f"{gpunodes.VGPU_NODES}/{node.name}", {"spec": change})
    for name in ("low", "high"):
        await _has(bed, team, name, "60Gi")
    picture = await audit.look(bed.api)
    return {slice_.claim.name: slice_.id for _, slice_ in picture.slices}


async def test_growth_of_the_lowest_priority_yields_to_a_floor_that_waits(
    bed: platform.Bed, team: Team
) -> None:
    await _pool(bed)
    await _grown(bed, team)

    await team.claim("late", requests=LARGE)
    await team.run("late")

    await team.bound(3, within_seconds=10)
    await _has(bed, team, "low", "20Gi")
    await _has(bed, team, "high", "60Gi")


async def test_memory_that_is_not_free_yet_is_waited_for(bed: platform.Bed, team: Team) -> None:
    await _pool(bed)
    slices = await _grown(bed, team)
    bed.mirror.hold(slices["low"])

    await team.claim("late", requests=LARGE)
    await team.run("late")
    await _has(bed, team, "low", "20Gi")
    waiting = await _waiting(team, "late", "progress")
    assert "growth" in waiting["progress"]
    assert len(await team.bound(2)) == 2

    bed.mirror.let_go(slices["low"])
    await team.bound(3)
    await _has(bed, team, "high", "60Gi")


@pytest.mark.parametrize("point", ["reclaim-before-write", "reclaim-after-write"])
async def test_an_operator_killed_while_it_takes_back_goes_on(
    bed: platform.Bed, team: Team, point: str
) -> None:
    await _pool(bed)
    await _grown(bed, team)
    await bed.operator.restart(f"--crash-at={point}")

    await team.claim("late", requests=LARGE)
    await team.run("late")
    await _died(bed)
    await bed.operator.restart()

    await team.bound(3)
    await _has(bed, team, "high", "60Gi")


async def _halved(team: Team) -> None:
    """Two Deployments on a GPU each, the smaller one on the right."""
    for name, memory in (("left", "40Gi"), ("right", "30Gi")):
        await team.claim(name, requests=objects.amounts(memory, 20))
        await team.api.apply([objects.deployment(name, name, team.namespace)])
        await team.bound(1 if name == "left" else 2)


async def _late(team: Team) -> None:
    await team.claim("late", requests=LARGE)
    await team.run("late")


async def test_a_move_is_proposed_and_nobody_evicted(bed: platform.Bed, team: Team) -> None:
    await _pool(bed)
    await _halved(team)
    before = await _pods_of(team, "right")

    await _late(team)

    waiting = await _waiting(team, "late", "suggestions")
    (move,) = waiting["suggestions"][0]["changes"]
    assert (move["type"], move["podCount"], move["memory"]) == ("MovePods", 1, "30Gi")
    assert move["podNames"] == [name for name, _ in before]
    assert await _pods_of(team, "right") == before


async def test_where_the_pool_says_so_the_pod_with_the_least_memory_restarts_elsewhere(
    bed: platform.Bed, team: Team
) -> None:
    await _pool(bed, "Evict")
    await _halved(team)
    left, right = await _pods_of(team, "left"), await _pods_of(team, "right")

    await _late(team)

    await team.bound(3)
    assert await _pods_of(team, "left") == left
    assert await _pods_of(team, "right") != right


async def test_a_disruption_budget_is_respected(bed: platform.Bed, team: Team) -> None:
    await _pool(bed, "Evict")
    await _halved(team)
    await _budget(team, "right")
    left, right = await _pods_of(team, "left"), await _pods_of(team, "right")

    await _late(team)

    await team.bound(3)
    assert await _pods_of(team, "right") == right
    assert await _pods_of(team, "left") != left


@pytest.mark.parametrize("point", ["eviction-before-write", "eviction-after-write"])
async def test_an_operator_killed_while_it_moves_goes_on(bed: platform.Bed, team: Team, point: str) -> None:
    await _pool(bed, "Evict")
    await _halved(team)
    await bed.operator.restart(f"--crash-at={point}")

    await _late(team)
    await _died(bed)
    await bed.operator.restart()

    await team.bound(3)


async def _budget(team: Team, name: str) -> None:
    """No pod of this Deployment may be disrupted, and the controller has taken note."""
    path = f"/apis/policy/v1/namespaces/{team.namespace}/poddisruptionbudgets"
    budget = {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": name, "namespace": team.namespace},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": name}}},
    }
    await team.api.apply([budget])

    async def counted() -> bool:
        status = (await team.api.get(f"{path}/{name}")).get("status", {})
        return bool(status.get("currentHealthy") == 1)

    await process.until(counted, timeout_seconds=20, awaited=f"the budget of {name}")


async def _pods_of(team: Team, app: str) -> list[tuple[str, str]]:
    """Names and nodes of a Deployment's pods."""
    pods = [each for each in await team.pods() if each["metadata"]["labels"].get("app") == app]
    return [(each["metadata"]["name"], each["spec"].get("nodeName", "")) for each in pods]


async def _waiting(team: Team, claim: str, field: str) -> Object:
    """What the claim says of its waiting pod, once that has the field."""
    found: Object = {}

    async def said() -> bool:
        found.update((await team.status(claim)).get("waiting", {}))
        return field in found

    await process.until(said, timeout_seconds=15, awaited=f"{field} for the waiting pod of {claim}")
    return found


async def _has(bed: platform.Bed, team: Team, claim: str, memory: str) -> None:
    async def has() -> bool:
        allocated = (await team.status(claim)).get("allocated", {})
        return bool(allocated.get("memory") == memory)

    await process.until(has, timeout_seconds=15, awaited=f"{claim} to have {memory}")


async def _died(bed: platform.Bed) -> None:
    async def died() -> bool:
        return not bed.operator.process.running

    await process.until(died, timeout_seconds=20, awaited="the operator to die at the write")
