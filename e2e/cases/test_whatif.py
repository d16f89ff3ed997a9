"""What a claim is told would let its pod in does let it in, once it is done."""

import pytest

from vgpu_e2e import audit, gpunodes, objects, platform, process
from vgpu_e2e.rest import Object
from vgpu_e2e.team import Team

pytestmark = pytest.mark.asyncio(loop_scope="module")
BED = {"nodes": 1, "shape": gpunodes.NodeShape(gpus=2)}
POOLS = [objects.pool(compute_overcommit=100)]
NODE = f"{gpunodes.VGPU_NODES}/gpu-0"


async def _filled(team: Team) -> None:
    """Two GPUs with 40 GiB and 80 % free each."""
    await team.claim("there", requests=objects.amounts("40Gi", 20), device_count=2)
    await team.run("there")
    await team.bound(1)


async def _asks(team: Team, memory: str, percent: int, device_count: int = 1) -> None:
    await team.claim("late", requests=objects.amounts(memory, percent), device_count=device_count)
    await team.run("late")


async def test_less_memory(bed: platform.Bed, team: Team) -> None:
    await _filled(team)
    await _asks(team, "60Gi", 50)

    change = await _suggested(team, "LessMemory")
    assert change["memory"] == "40Gi"

    await team.delete(["late-0"])
    await _asks(team, change["memory"], 50)
    await team.bound(2)


async def test_less_compute(bed: platform.Bed, team: Team) -> None:
    await _filled(team)
    await _asks(team, "40Gi", 100)

    change = await _suggested(team, "LessCompute")
    assert change["computePercent"] == 80

    await team.delete(["late-0"])
    await _asks(team, "40Gi", change["computePercent"])
    await team.bound(2)


async def test_fewer_gpus(bed: platform.Bed, team: Team) -> None:
    await team.claim("there", requests=objects.amounts("40Gi", 20))
    await team.run("there")
    await team.bound(1)
    await _asks(team, "60Gi", 50, device_count=2)

    change = await _suggested(team, "FewerDevices")
    assert change["deviceCount"] == 1

    await team.claim("less", requests=objects.amounts("60Gi", 50), device_count=change["deviceCount"])
    await team.run("less")
    await team.bound(2)


async def test_a_larger_quota(bed: platform.Bed, team: Team) -> None:
    lines = [objects.quota(team.namespace, objects.amounts("50Gi", 200), objects.amounts("0", 0))]
    await bed.apply([objects.pool(compute_overcommit=100, quotas=lines)])
    await _asks(team, "60Gi", 50)

    change = await _suggested(team, "MoreQuota")
    assert (change["namespace"], change["memory"]) == (team.namespace, "10Gi")

    lines = [objects.quota(team.namespace, objects.amounts("60Gi", 200), objects.amounts("0", 0))]
    await bed.apply([objects.pool(compute_overcommit=100, quotas=lines)])
    await team.bound(1)
    await bed.apply(POOLS)


async def test_a_gpu_uncordoned(bed: platform.Bed, team: Team) -> None:
    uuids = [gpunodes.device_uuid("gpu-0", index) for index in range(2)]
    await _cordon(bed, uuids)
    await _asks(team, "60Gi", 50)

    change = await _suggested(team, "Uncordon")
    assert change["nodeName"] == "gpu-0"
    assert len(change["deviceUUIDs"]) == 1

    await _cordon(bed, [uuid for uuid in uuids if uuid not in change["deviceUUIDs"]])
    await team.bound(1)
    await _cordon(bed, [])


async def test_the_condition_and_an_event_say_it_in_words(bed: platform.Bed, team: Team) -> None:
    await _filled(team)
    await _asks(team, "60Gi", 50)
    await _suggested(team, "LessMemory")

    bound = await team.condition("late", "Bound", reason="NoFit")
    assert "ask for 40 GiB memory per GPU, 20 GiB less" in bound["message"]
    events, _ = await team.api.list(f"/apis/events.k8s.io/v1/namespaces/{team.namespace}/events")
    (told,) = [each for each in events if each["reason"] == "WouldFit"]
    assert "ask for 40 GiB memory per GPU, 20 GiB less" in told["note"]


async def _suggested(team: Team, kind: str) -> Object:
    """The one change of this kind that would do alone, once the claim says so."""
    found: list[Object] = []

    async def said() -> bool:
        waiting = (await team.status("late")).get("waiting", {})
        alone = [each["changes"] for each in waiting.get("suggestions", ()) if len(each["changes"]) == 1]
        found[:] = [change for (change,) in alone if change["type"] == kind]
        return bool(found)

    await process.until(said, timeout_seconds=20, awaited=f"{kind} to be suggested")
    return found[0]


async def _cordon(bed: platform.Bed, uuids: list[str]) -> None:
    picture = await audit.look(bed.api)
    change = {"revision": picture.nodes[0].revision + 1, "cordonedDevices": uuids}
    await bed.api.patch(NODE, {"spec": change})
