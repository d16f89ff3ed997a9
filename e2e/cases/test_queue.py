"""Pods wait in one queue behind a gate: who goes first, why somebody waits, and who is let past it."""

import pytest

from vgpu.api import names
from vgpu_e2e import objects, platform, process
from vgpu_e2e.rest import Object
from vgpu_e2e.team import Team

pytestmark = pytest.mark.asyncio(loop_scope="module")
GPUS = 4
BED = {"nodes": 2}
WHOLE = objects.amounts("80Gi", 100)
QUARTER = objects.amounts("20Gi", 25)
POOLS = [objects.pool()]


async def test_the_higher_priority_goes_first_and_the_last_place_to_the_next(
    bed: platform.Bed, team: Team
) -> None:
    await _fill(team)
    await team.claim("modest", requests=WHOLE)
    await team.claim("urgent", requests=WHOLE, priority=10)
    for claim_name in ("modest", "urgent"):
        await team.run(claim_name, 2)
        await _events(team, f"{claim_name}-1", "NoFit")

    await team.delete(["full-0", "full-1", "full-2"])

    bound = await team.bound(GPUS)
    found = sorted(pod["metadata"]["name"] for pod in bound)
    assert found in (["full-3", f"modest-{either}", "urgent-0", "urgent-1"] for either in (0, 1))


async def test_equal_namespaces_fill_their_quotas_evenly(bed: platform.Bed, team: Team) -> None:
    other = Team(bed.api, f"{team.namespace}-b")
    await other.arrive()
    quotas = [objects.quota(each.namespace, objects.amounts("320Gi", 800)) for each in (team, other)]
    await bed.apply([objects.pool(quotas=quotas)])
    await _fill(team)
    for each in (team, other):
        await each.claim("quarter", requests=QUARTER)
    await team.run("quarter", 16)
    await other.run("quarter", 16)
    await _events(other, "quarter-15", "NoFit")

    await team.delete([f"full-{index}" for index in range(GPUS)])

    assert len(await team.bound(8)) == len(await other.bound(8)) == 8
    await other.leave()
    await bed.apply(POOLS)


async def test_a_pod_that_waits_says_why_and_keeps_its_gate(bed: platform.Bed, team: Team) -> None:
    quotas = [objects.quota(team.namespace, objects.amounts("100Gi", 200))]
    await bed.apply([objects.pool(quotas=quotas)])
    await team.claim("llm", requests=objects.amounts("60Gi", 50))

    await team.run("llm", 2)
    [bound] = await team.bound(1)
    waiting = "llm-1" if bound["metadata"]["name"] == "llm-0" else "llm-0"

    [event] = await _events(team, waiting, "WaitingForQuota")
    assert "60 GiB/50 % asked" in event["note"]
    pod = await team.api.get(f"{team.pods_path}/{waiting}")
    assert pod["spec"]["schedulingGates"] == [{"name": names.QUEUE_GATE}]
    await bed.apply(POOLS)
    await team.bound(2)


async def test_a_node_that_kube_scheduler_refuses_is_left_for_another(bed: platform.Bed, team: Team) -> None:
    await team.claim("llm", requests=QUARTER)
    await team.run("llm", 1, prefix="first")
    [first] = await team.bound(1)
    packed = first["spec"]["nodeName"]
    await _taint(bed, packed, [{"key": "broken", "effect": "NoSchedule"}])

    await team.run("llm", 6)

    bound = await team.bound(7)
    others = {pod["spec"]["nodeName"] for pod in bound if pod["metadata"]["name"] != "first-0"}
    assert others == set(bed.nodes) - {packed}
    await _taint(bed, packed, None)


async def test_a_pod_without_room_is_shown_to_autoscalers_after_the_pools_time(
    bed: platform.Bed, team: Team
) -> None:
    impatient = objects.pool()
    impatient["spec"]["queue"] = {"ungateAfterSeconds": 1}
    await bed.apply([impatient])
    await _fill(team)
    await team.claim("late", requests=WHOLE)

    await team.run("late", 1)

    await _events(team, "late-0", "Ungated")
    await process.until(
        lambda: _unschedulable(team, "late-0"),
        timeout_seconds=15,
        awaited="kube-scheduler's verdict on late-0",
    )
    await team.delete(["full-0"])
    await team.bound(GPUS)
    await bed.apply(POOLS)


async def _fill(team: Team) -> None:
    """Every GPU is taken by a pod named full-N."""
    await team.claim("full", requests=WHOLE)
    await team.run("full", GPUS)
    await team.bound(GPUS)


async def _events(team: Team, pod: str, reason: str) -> list[Object]:
    """The pod's Events of this reason, once there is one."""
    found: list[Object] = []

    async def told() -> bool:
        path = f"/apis/events.k8s.io/v1/namespaces/{team.namespace}/events"
        events, _ = await team.api.list(path, parameters={"fieldSelector": f"reason={reason}"})
        found[:] = [each for each in events if each["regarding"]["name"] == pod]
        return bool(found)

    await process.until(told, timeout_seconds=15, awaited=f"the Event {reason} on {pod}")
    return found


async def _unschedulable(team: Team, name: str) -> bool:
    pod = await team.api.get(f"{team.pods_path}/{name}")
    reasons = {each.get("reason") for each in pod["status"].get("conditions", ())}
    return "Unschedulable" in reasons and not pod["spec"].get("schedulingGates")


async def _taint(bed: platform.Bed, node: str, taints: list[Object] | None) -> None:
    await bed.api.patch(f"/api/v1/nodes/{node}", {"spec": {"taints": taints}})
