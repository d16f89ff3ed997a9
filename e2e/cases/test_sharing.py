"""Pods of two claims share a GPU, and kubectl tells the story."""

import asyncio

import pytest

from vgpu import values
from vgpu.api import names
from vgpu_e2e import audit, objects, platform, process
from vgpu_e2e.team import Team

pytestmark = pytest.mark.asyncio(loop_scope="module")
BED = {"nodes": 2}
POOLS = [objects.pool()]


async def test_two_claims_share_a_gpu_and_never_exceed_it(bed: platform.Bed, team: Team) -> None:
    await team.claim("one", requests=objects.amounts("30Gi", 50))
    await team.claim("two", requests=objects.amounts("40Gi", 50))

    await asyncio.gather(team.run("one"), team.run("two"))

    await team.bound(2)
    picture = await audit.look(bed.api)
    devices = {slice_.device_uuids for _, slice_ in picture.slices}
    assert len(devices) == 1
    assert audit.violations(picture) == []


async def test_what_does_not_fit_waits_and_says_why_per_group_of_nodes(bed: platform.Bed, team: Team) -> None:
    await team.claim("large", requests=objects.amounts("50Gi", 50))
    await team.run("large", 5)
    await team.bound(4)

    bound = await team.condition("large", "Bound", reason="NoFit")

    assert "2 nodes: no GPU with 50 GiB memory free" in bound["message"]
    await process.until(lambda: _told(team), timeout_seconds=5, awaited="an Event that says why")


async def test_a_bound_pod_carries_its_devices_and_its_slice(bed: platform.Bed, team: Team) -> None:
    await team.claim("pair", device_count=2, requests=objects.amounts("10Gi", 10))
    await team.run("pair")

    [pod] = await team.bound(1)

    picture = await audit.look(bed.api)
    [(_, slice_)] = picture.slices
    assert len(slice_.device_uuids) == 2
    assert pod["metadata"]["annotations"][names.DEVICES_ANNOTATION] == ",".join(slice_.device_uuids)
    assert pod["metadata"]["annotations"][names.SLICE_ANNOTATION] == pod["metadata"]["uid"]


async def test_the_pod_is_admitted_with_all_that_it_needs(bed: platform.Bed, team: Team) -> None:
    await team.claim("llm", requests=objects.amounts("16Gi", 25))
    await team.run("llm", initContainers=[{"name": "prepare", "image": objects.IMAGE}])

    [pod] = await team.bound(1)

    spec = pod["spec"]
    requests = spec["containers"][0]["resources"]["requests"]
    assert spec["schedulerName"] == names.SCHEDULER_NAME
    assert requests[names.MEMORY_RESOURCE] == str(16 * 1024)
    assert requests[names.COMPUTE_RESOURCE] == "25"
    assert any(volume.get("csi", {}).get("driver") == names.CSI_DRIVER for volume in spec["volumes"])
    for container in [*spec["containers"], *spec["initContainers"]]:
        mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
        assert mounts["/etc/ld.so.preload"]["subPath"] == "ld.so.preload"
        assert mounts["/run/vgpu"]["readOnly"] is True
        assert [env["name"] for env in container["env"]] == ["NVIDIA_VISIBLE_DEVICES"]


async def test_kubectl_tells_the_story_of_a_claim(bed: platform.Bed, team: Team) -> None:
    await team.claim("llm", requests=objects.amounts("16Gi", 25), limits=objects.amounts("40Gi", 100))
    await team.run("llm", 2)
    await team.condition("llm", "Ready", reason="SlicesReady")

    claims = await bed.kubectl("get", "vgpuclaims", "-n", team.namespace, "-o", "wide")
    pools = await bed.kubectl("get", "vgpupools")
    described = await bed.kubectl("describe", "vgpuclaim", "llm", "-n", team.namespace)

    header, row = (line.split() for line in claims.splitlines())
    assert header[:8] == ["NAME", "POOL", "READY", "REASON", "PODS", "MEMORY", "COMPUTE", "FLOOR"]
    assert row[:9] == ["llm", "a100", "True", "SlicesReady", "2", "32Gi", "50", "16Gi/25%", "40Gi/100%"]
    assert pools.splitlines()[0].split() == [
        *["NAME", "READY", "NODES", "GPUS", "CLAIMS", "PENDING", "MEMORY", "ALLOCATED", "AGE"]
    ]
    assert all(word in described for word in ("LimitsApplied", "Bound", "Device UUIDs", "Events"))
    assert "llm" in await bed.kubectl("get", "vgpu", "-A")


async def test_an_edited_claim_reaches_its_live_slices(bed: platform.Bed, team: Team) -> None:
    await team.claim("llm", requests=objects.amounts("16Gi", 25), limits=objects.amounts("40Gi", 100))
    await team.run("llm")
    await team.bound(1)

    await team.claim("llm", requests=objects.amounts("24Gi", 30), limits=objects.amounts("48Gi", 100))

    grown = values.Amounts(memory_bytes=24 * values.GIB, compute_percent=30)
    await _requests_become(bed, grown)


async def test_an_edit_that_does_not_fit_keeps_the_old_floor_and_says_why(
    bed: platform.Bed, team: Team
) -> None:
    await team.claim("llm", requests=objects.amounts("16Gi", 25), limits=objects.amounts("80Gi", 100))
    await team.claim("big", requests=objects.amounts("60Gi", 100))
    await team.run("llm")
    await team.bound(1)
    await team.run("big", 4)
    await team.bound(5)

    await team.claim("llm", requests=objects.amounts("40Gi", 25), limits=objects.amounts("80Gi", 100))

    resizing = await team.condition("llm", "Resizing", reason="Deferred")
    picture = await audit.look(bed.api)
    floors = {slice_.requests.memory_bytes for _, slice_ in picture.slices if slice_.claim.name == "llm"}
    assert floors == {16 * values.GIB}
    assert "GiB" in resizing["message"]


async def test_pods_of_a_shared_claim_live_in_one_slice(bed: platform.Bed, team: Team) -> None:
    await team.claim("joint", mode="Shared", requests=objects.amounts("10Gi", 20))
    await team.run("joint", 6)
    await team.bound(6)

    picture = await audit.look(bed.api)
    [(_, slice_)] = picture.slices
    assert len(slice_.pods) == 6

    await team.delete([f"joint-{index}" for index in range(6)])

    await process.until(lambda: _no_slices(bed), timeout_seconds=5, awaited="the joint slice to be released")


async def test_a_claim_in_use_goes_only_when_its_pods_are_gone(bed: platform.Bed, team: Team) -> None:
    await team.claim("llm")
    pods = await team.run("llm")
    await team.bound(1)

    await bed.api.delete(f"{team.claims_path}/llm")
    await team.condition("llm", "Ready", reason="Deleting")
    await team.delete(pods)

    async def gone() -> bool:
        return not await bed.api.exists(f"{team.claims_path}/llm")

    await process.until(gone, timeout_seconds=20, awaited="the claim to go after its pods")


async def _no_slices(bed: platform.Bed) -> bool:
    return not (await audit.look(bed.api)).slices


async def _requests_become(bed: platform.Bed, wished: values.Amounts) -> None:
    async def reached() -> bool:
        picture = await audit.look(bed.api)
        return all(slice_.requests == slice_.allocated == wished for _, slice_ in picture.slices)

    await process.until(reached, timeout_seconds=10, awaited=f"a floor of {wished}")


async def _told(team: Team) -> bool:
    """Whether an Event of the queue on one of the team's pods says why it waits."""
    path = f"/apis/events.k8s.io/v1/namespaces/{team.namespace}/events"
    events, _ = await team.api.list(path, parameters={"fieldSelector": "reason=NoFit"})
    return any("no GPU with 50 GiB memory free" in each["note"] for each in events)
