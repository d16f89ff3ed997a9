"""Two hundred pods at once over a hundred nodes, through the scheduler and at the extender's own port."""

import asyncio
import uuid

import aiohttp
import pytest

from vgpu import values
from vgpu.api import names
from vgpu_e2e import audit, objects, platform, process
from vgpu_e2e.rest import Object
from vgpu_e2e.team import Team

pytestmark = pytest.mark.asyncio(loop_scope="module")
NODES = 100
BED = {"nodes": NODES, "lease_seconds": 15}
POOLS = [objects.pool(strategy="Spread")]
CALLERS = 32


async def test_of_two_hundred_pods_all_that_fit_are_bound_and_none_twice(
    bed: platform.Bed, team: Team
) -> None:
    await team.claim("small", requests=objects.amounts("20Gi", 30))
    await team.claim("huge", requests=objects.amounts("70Gi", 30))

    await asyncio.gather(team.run("small", 180), team.run("huge", 20))

    await team.bound(200, within_seconds=120)
    await _ledger_matches(bed, bound=200, pending=0)


async def test_of_too_many_pods_the_rest_waits_with_reasons(bed: platform.Bed, team: Team) -> None:
    whole = objects.amounts("80Gi", 100)
    await team.claim("whole", requests=whole, device_count=2)

    await team.run("whole", NODES + 20)

    await team.bound(NODES, within_seconds=120)
    await _ledger_matches(bed, bound=NODES, pending=20)
    bound = await team.condition("whole", "Bound", reason="NoFit")
    assert f"{NODES} nodes: " in bound["message"]


async def test_thirty_two_concurrent_callers_never_oversell_a_device(bed: platform.Bed, team: Team) -> None:
    """With the scheduler stopped, 32 callers place and bind pods whose gates somebody has opened."""
    scheduler = bed.schedulers[0].process
    await scheduler.stop()
    try:
        await team.claim("third", requests=objects.amounts("30Gi", 40))
        created = await team.run("third", 2 * 2 * NODES + 40)
        turns = asyncio.Semaphore(CALLERS)
        await asyncio.gather(*(_open(team, name, turns=turns) for name in created))
        pods, nodes = await team.pods(), list(bed.nodes)

        async with aiohttp.ClientSession(bed.extenders[0].url) as session:
            bound = await asyncio.gather(*(_place(session, pod, nodes, turns=turns) for pod in pods))

        assert sum(bound) == 2 * 2 * NODES
        await _ledger_matches(bed, bound=2 * 2 * NODES, pending=40)
    finally:
        scheduler.start()


async def _ledger_matches(bed: platform.Bed, *, bound: int, pending: int) -> None:
    picture = await audit.look(bed.api)
    assert audit.violations(picture) == []
    assert len(picture.bound) == bound
    assert len(picture.pending) == pending
    held = sum((slice_.requests for _, slice_ in picture.slices), values.NOTHING)
    asked = [slice_.requests for _, slice_ in picture.slices for _ in slice_.pods]
    assert sum(asked, values.NOTHING) == held
    assert sum(len(slice_.pods) for _, slice_ in picture.slices) == bound


async def _open(team: Team, name: str, *, turns: asyncio.Semaphore) -> None:
    async with turns:
        await team.api.patch(f"{team.pods_path}/{name}", {"spec": {"schedulingGates": None}})


async def _place(
    session: aiohttp.ClientSession, pod: Object, nodes: list[str], *, turns: asyncio.Semaphore
) -> bool:
    """One caller's way, as kube-scheduler's: Filter, then Bind, again after every error; True when bound."""
    meta = pod["metadata"]
    binding = {"PodName": meta["name"], "PodNamespace": meta["namespace"], "PodUID": meta["uid"]}
    async with turns:
        while True:
            found = await _ask(session, "/filter", {"Pod": pod, "Nodes": None, "NodeNames": nodes})
            if found["Error"]:
                continue
            if not found["NodeNames"]:
                assert set(found["FailedNodes"]) == set(nodes)
                return False
            answer = await _ask(session, "/bind", {**binding, "Node": found["NodeNames"][0]})
            if not answer["Error"]:
                return True


async def _ask(session: aiohttp.ClientSession, verb: str, arguments: Object) -> Object:
    async with session.post(verb, json=arguments) as response:
        answer: Object = await response.json(content_type=None)
        return answer


async def test_a_pod_that_nobody_has_created_is_not_bound(bed: platform.Bed) -> None:
    binding = {
        "PodName": "ghost",
        "PodNamespace": "default",
        "PodUID": str(uuid.uuid4()),
        "Node": bed.nodes[0],
    }

    async with (
        aiohttp.ClientSession(bed.extenders[0].url) as session,
        session.post("/bind", json=binding) as response,
    ):
        error = (await response.json(content_type=None))["Error"]

    assert "ghost" in error


async def test_a_bound_pod_that_is_bound_again_keeps_its_slice(bed: platform.Bed, team: Team) -> None:
    await team.claim("llm")
    await team.run("llm")
    [pod] = await team.bound(1)
    meta = pod["metadata"]
    binding = {
        "PodName": meta["name"],
        "PodNamespace": meta["namespace"],
        "PodUID": meta["uid"],
        "Node": pod["spec"]["nodeName"],
    }

    async with (
        aiohttp.ClientSession(bed.extenders[0].url) as session,
        session.post("/bind", json=binding) as response,
    ):
        error = (await response.json(content_type=None))["Error"]

    assert error == ""
    await process.until(lambda: _one_slice(bed), timeout_seconds=5, awaited="one slice of one pod")
    assert names.SLICE_ANNOTATION in meta["annotations"]


async def _one_slice(bed: platform.Bed) -> bool:
    return [len(slice_.pods) for _, slice_ in (await audit.look(bed.api)).slices] == [1]
