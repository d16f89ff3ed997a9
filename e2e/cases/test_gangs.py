"""Gangs start together or not at all, whoever dies and whatever kube-scheduler refuses meanwhile."""

import asyncio

import pytest

from vgpu_e2e import audit, objects, platform, process
from vgpu_e2e.rest import Object
from vgpu_e2e.team import Team

pytestmark = pytest.mark.asyncio(loop_scope="module")
BED = {"nodes": 4, "lease_seconds": 4}
POOLS = [objects.pool()]
WHOLE = objects.amounts("80Gi", 100)


async def test_a_gang_of_eight_starts_where_there_is_room_for_eight(bed: platform.Bed, team: Team) -> None:
    await _gang(team, "eight", 8)

    await team.run("eight", 8)

    await team.bound(8)


async def test_of_two_gangs_one_runs_wholly_and_the_other_follows(bed: platform.Bed, team: Team) -> None:
    names = ("left", "right")
    for name in names:
        await _gang(team, name, 6)
    await asyncio.gather(*(team.run(name, 6) for name in names))

    bound = await team.bound(6)
    [winner] = {_claim(pod) for pod in bound}
    [loser] = set(names) - {winner}
    await _told(team, f"{loser}-0", "NoFit", "6 pods start together and 2 of them have a place")
    await team.delete([f"{winner}-{index}" for index in range(6)])

    bound = await team.bound(6)
    assert {_claim(pod) for pod in bound} == {loser}


async def test_a_gang_waits_for_all_its_pods(bed: platform.Bed, team: Team) -> None:
    await _gang(team, "eight", 8)
    await team.run("eight", 5)
    await _told(team, "eight-0", "WaitingForGang", "8 pods of claim eight start together")
    assert (await audit.look(bed.api)).slices == []

    await team.run("eight", 3, prefix="late")

    await team.bound(8)


async def test_a_gang_larger_than_the_cluster_says_so_and_keeps_nobody(bed: platform.Bed, team: Team) -> None:
    await _gang(team, "nine", 9)
    await team.run("nine", 9)
    await _told(team, "nine-0", "NoFit", "9 pods start together and 8 of them have a place")

    await team.claim("small", requests=WHOLE)
    await team.run("small", 8)

    bound = await team.bound(8)
    assert {_claim(pod) for pod in bound} == {"small"}


@pytest.mark.parametrize("point", ["before-slice:2", "after-slice:2", "before-ungate:4", "after-binding:3"])
async def test_a_gang_whose_extender_dies_under_way_starts_all_the_same(
    bed: platform.Bed, team: Team, point: str
) -> None:
    extender = bed.extenders[0]
    await extender.restart(f"--crash-at={point}")
    await _gang(team, "eight", 8)
    creating = asyncio.create_task(team.run("eight", 8))

    async def died() -> bool:
        return not extender.process.running

    await process.until(died, timeout_seconds=20, awaited=f"the extender to pass {point}")
    await extender.restart()
    await creating

    await team.bound(8, within_seconds=60)
    assert audit.violations(await audit.look(bed.api)) == []


async def test_a_gang_one_of_which_kube_scheduler_refuses_runs_nowhere_until_it_may(
    bed: platform.Bed, team: Team
) -> None:
    await _taint(bed, "gpu-3", [{"key": "broken", "effect": "NoSchedule"}])
    await _gang(team, "eight", 8)
    await team.run("eight", 8)

    await process.until(
        lambda: _some_refused(team), timeout_seconds=20, awaited="kube-scheduler to refuse one of the gang"
    )
    await process.until(
        lambda: _nothing_held(bed), timeout_seconds=20, awaited="the gang to give everything back"
    )
    assert not [pod for pod in await team.pods() if pod["spec"].get("nodeName")]
    await _taint(bed, "gpu-3", None)

    await team.bound(8, within_seconds=60)


async def _gang(team: Team, name: str, size: int) -> None:
    claim = objects.claim(name, team.namespace, requests=WHOLE)
    claim["spec"]["gang"] = {"minPods": size}
    await team.api.apply([claim])


async def _told(team: Team, pod: str, reason: str, words: str) -> None:
    async def told() -> bool:
        path = f"/apis/events.k8s.io/v1/namespaces/{team.namespace}/events"
        events, _ = await team.api.list(path, parameters={"fieldSelector": f"reason={reason}"})
        return any(each["regarding"]["name"] == pod and words in each["note"] for each in events)

    await process.until(told, timeout_seconds=15, awaited=f"the Event {reason} on {pod} with {words!r}")


async def _some_refused(team: Team) -> bool:
    conditions = [each for pod in await team.pods() for each in pod["status"].get("conditions", ())]
    return any(each.get("reason") == "Unschedulable" for each in conditions)


async def _nothing_held(bed: platform.Bed) -> bool:
    return (await audit.look(bed.api)).slices == []


async def _taint(bed: platform.Bed, node: str, taints: list[Object] | None) -> None:
    await bed.api.patch(f"/api/v1/nodes/{node}", {"spec": {"taints": taints}})


def _claim(pod: Object) -> str:
    return str(pod["metadata"]["labels"]["vgpu.dev/claim"])
