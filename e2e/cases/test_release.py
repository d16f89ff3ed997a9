"""What ends frees its slice, and whoever waited for it starts."""

import asyncio
import datetime
import time

import pytest

from vgpu_e2e import audit, gpunodes, kubelets, objects, platform, process
from vgpu_e2e.team import Team

pytestmark = pytest.mark.asyncio(loop_scope="module")
BED = {"nodes": 3}
POOLS = [objects.pool()]
WHOLE = objects.amounts("80Gi", 100)


async def test_a_deleted_pods_slice_is_free_within_2_s_and_the_waiting_pod_bound_within_3(
    bed: platform.Bed, team: Team
) -> None:
    await team.claim("pair", requests=WHOLE, device_count=2)
    await team.run("pair", 3)
    await team.bound(3)
    await team.run("pair", 1, prefix="late")
    await team.condition("pair", "Bound", reason="NoFit")

    ended = time.monotonic()
    await team.delete(["pair-0"])
    await _pod_is_bound(team, "late-0")

    assert time.monotonic() - ended < 3
    picture = await audit.look(bed.api)
    assert len(picture.slices) == 3


async def test_a_finished_pods_slice_is_free_within_2_s(bed: platform.Bed, team: Team) -> None:
    await team.claim("job", requests=WHOLE)
    await team.run("job", annotations={kubelets.RUN_SECONDS: "0.5"}, restartPolicy="Never")
    await team.bound(1)

    async def finished() -> bool:
        return all(each["status"].get("phase") == "Succeeded" for each in await team.pods())

    await process.until(finished, timeout_seconds=10, awaited="the job to finish")
    await process.until(lambda: _holds(bed, 0), timeout_seconds=2, awaited="its slice to be free")


async def test_a_deleted_nodes_slices_go_with_it(bed: platform.Bed, team: Team) -> None:
    await team.claim("pair", requests=WHOLE, device_count=2)
    await team.run("pair", 3)
    await team.bound(3)
    await team.run("pair", 1, prefix="late")

    await gpunodes.delete_node(bed.api, "gpu-2")
    await process.until(lambda: _holds(bed, 2), timeout_seconds=10, awaited="the slices of two nodes")

    await gpunodes.make_nodes(bed.api, 1, prefix="new", now=_now())
    await _pod_is_bound(team, "late-0")
    bed.nodes[:] = ["gpu-0", "gpu-1", "new-0"]


async def test_a_pod_that_the_schedulers_own_rules_keep_waiting_holds_nobody_up(
    bed: platform.Bed, team: Team
) -> None:
    await team.claim("pair", requests=WHOLE, device_count=2)
    await team.run("pair", 1, prefix="nowhere", nodeSelector={"no": "such"})

    await team.run("pair", 3)

    await team.bound(3)


async def test_a_pod_deleted_while_it_waits_leaves_nothing(bed: platform.Bed, team: Team) -> None:
    await team.claim("pair", requests=WHOLE, device_count=2)
    await team.run("pair", 5)
    await team.bound(3)

    await asyncio.gather(team.delete([f"pair-{index}" for index in range(5)]))

    await process.until(lambda: _holds(bed, 0), timeout_seconds=5, awaited="an empty ledger")


async def _pod_is_bound(team: Team, name: str) -> None:
    async def bound() -> bool:
        pod = await team.api.get(f"{team.pods_path}/{name}")
        return bool(pod["spec"].get("nodeName"))

    await process.until(bound, timeout_seconds=20, awaited=f"{name} to be bound")


async def _holds(bed: platform.Bed, count: int) -> bool:
    return len((await audit.look(bed.api)).slices) == count


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
