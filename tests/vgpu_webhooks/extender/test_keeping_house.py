"""Between calls: slices go back, growth is granted, and those that wait are woken in order."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from vgpu.api import names
from vgpu_kube import errors, resources
from vgpu_kube.objects import Object
from vgpu_kube.testing.clock import settle

if TYPE_CHECKING:
    from tests.vgpu_webhooks.extender.conftest import Stage


def _woken(stage: "Stage", name: str) -> bool:
    return names.RETRY_ANNOTATION in stage.pod(name)["metadata"].get("annotations", {})


async def test_a_deleted_pods_slice_is_free_at_once(stage: "Stage") -> None:
    offered = stage.add_nodes(1)
    stage.add_pool()
    stage.add_claim()
    process = await stage.start()
    await process.place(stage.add_pod("a"), offered)

    stage.cluster.remove(resources.PODS, "a", "team")
    await stage.clock.advance(0.1)

    assert stage.ledger() == {}


async def test_a_finished_pods_slice_is_free_at_once(stage: "Stage") -> None:
    offered = stage.add_nodes(1)
    stage.add_pool()
    stage.add_claim()
    process = await stage.start()
    await process.place(stage.add_pod("a"), offered)

    await stage.finish("a")
    await stage.clock.advance(0.1)

    assert stage.ledger() == {}


async def test_a_pod_that_is_terminating_keeps_its_slice(stage: "Stage") -> None:
    offered = stage.add_nodes(1)
    stage.add_pool()
    stage.add_claim()
    process = await stage.start()
    await process.place(stage.add_pod("a"), offered)

    await stage.cluster.delete(resources.PODS, "a", "team")
    await stage.clock.advance(60)

    assert len(stage.ledger()) == 1


async def test_a_shared_slice_goes_with_its_last_pod(stage: "Stage") -> None:
    offered = stage.add_nodes(1)
    stage.add_pool()
    stage.add_claim(allocationMode="Shared")
    process = await stage.start()
    for name in ("a", "b"):
        await process.place(stage.add_pod(name), offered)

    stage.cluster.remove(resources.PODS, "a", "team")
    await stage.clock.advance(0.1)
    [(_, entry)] = stage.ledger().values()
    assert [pod["name"] for pod in entry["pods"]] == ["b"]

    stage.cluster.remove(resources.PODS, "b", "team")
    await stage.clock.advance(0.1)
    assert stage.ledger() == {}


async def test_a_pod_that_only_lost_its_label_keeps_its_slice(stage: "Stage") -> None:
    offered = stage.add_nodes(1)
    stage.add_pool()
    stage.add_claim()
    process = await stage.start()
    await process.place(stage.add_pod("a"), offered)

    await stage.cluster.patch_merge(
        resources.PODS, "a", {"metadata": {"labels": {names.CLAIM_LABEL: None}}}, "team"
    )
    await stage.clock.advance(40)
    assert len(stage.ledger()) == 1

    stage.cluster.remove(resources.PODS, "a", "team")
    await stage.clock.advance(40)
    assert stage.ledger() == {}


async def test_a_slice_whose_pod_is_never_bound_goes_after_30_seconds(stage: "Stage") -> None:
    offered = stage.add_nodes(1)
    stage.add_pool()
    stage.add_claim()
    pod = stage.add_pod("a")
    process = await stage.start()
    await process.filter(pod, offered)
    stage.cluster.fail_next(errors.Unavailable(0, "Timeout", "no answer in time"), verb="bind")
    await process.bind(pod, "gpu-0")

    await stage.clock.advance(28)
    assert len(stage.ledger()) == 1

    await stage.clock.advance(4)
    assert stage.ledger() == {}


async def test_a_release_that_fails_is_tried_again(stage: "Stage") -> None:
    offered = stage.add_nodes(1)
    stage.add_pool()
    stage.add_claim()
    process = await stage.start()
    await process.place(stage.add_pod("a"), offered)
    stage.cluster.fail_next(errors.Unavailable(503, "Unavailable", "come back later"), verb="patch_json")

    stage.cluster.remove(resources.PODS, "a", "team")
    await stage.clock.advance(0.1)
    assert len(stage.ledger()) == 1

    await stage.clock.advance(2)
    assert stage.ledger() == {}


async def test_slices_of_pods_that_went_while_nobody_looked_are_released(stage: "Stage") -> None:
    offered = stage.add_nodes(1)
    stage.add_pool()
    stage.add_claim()
    process = await stage.start()
    await process.place(stage.add_pod("a"), offered)
    process.wire.dead = True
    stage.cluster.remove(resources.PODS, "a", "team")

    await stage.succeed(process)

    assert stage.ledger() == {}


async def test_a_node_that_comes_back_under_its_name_begins_anew(stage: "Stage") -> None:
    offered = stage.add_nodes(1)
    stage.add_pool()
    stage.add_claim(memory="80Gi")
    process = await stage.start()
    await process.place(stage.add_pod("a"), offered)

    stage.cluster.remove(resources.VGPU_NODES, "gpu-0")
    stage.cluster.remove(resources.PODS, "a", "team")
    stage.add_nodes(1)
    await stage.clock.advance(0.1)

    assert await process.place(stage.add_pod("b"), offered) == "gpu-0"
    stage.check_invariants()


async def test_a_pod_that_waits_is_woken_when_room_appears(stage: "Stage") -> None:
    offered = stage.add_nodes(1)
    stage.add_pool()
    stage.add_claim(memory="80Gi")
    process = await stage.start()
    await process.place(stage.add_pod("a"), offered)
    waiting = stage.add_pod("b")
    assert (await process.filter(waiting, offered))["NodeNames"] == []
    await stage.clock.advance(3)
    assert not _woken(stage, "b")

    stage.cluster.remove(resources.PODS, "a", "team")
    await stage.clock.advance(0.1)

    assert _woken(stage, "b")
    assert await process.place(waiting, offered) == "gpu-0"
    stage.check_invariants()


async def test_a_pod_that_waits_is_woken_when_quota_appears(stage: "Stage") -> None:
    offered = stage.add_nodes(2)
    stage.add_pool(quotas=[{"namespace": "team", "nominal": {"memory": "40Gi", "computePercent": 100}}])
    stage.add_claim()
    process = await stage.start()
    await process.place(stage.add_pod("a"), offered)
    await process.filter(stage.add_pod("b"), offered)

    await stage.cluster.patch_merge(
        resources.VGPU_POOLS,
        "pool",
        {"spec": {"quotas": [{"namespace": "team", "nominal": {"memory": "80Gi", "computePercent": 100}}]}},
    )
    await stage.clock.advance(0.1)

    assert _woken(stage, "b")


async def test_the_higher_priority_and_then_the_older_pod_is_woken_first(stage: "Stage") -> None:
    offered = stage.add_nodes(1)
    stage.add_pool()
    stage.add_claim(memory="80Gi")
    process = await stage.start()
    await process.place(stage.add_pod("a"), offered)
    for name, priority in (("low", 0), ("old", 10), ("young", 10)):
        await process.filter(stage.add_pod(name, priority=priority), offered)
        await stage.clock.advance(1)

    stage.cluster.remove(resources.PODS, "a", "team")
    await stage.clock.advance(3)

    assert [_woken(stage, name) for name in ("low", "old", "young")] == [False, True, False]


async def test_the_place_of_a_woken_pod_that_does_not_come_goes_to_the_next(stage: "Stage") -> None:
    offered = stage.add_nodes(1)
    stage.add_pool()
    stage.add_claim(memory="80Gi")
    process = await stage.start()
    await process.place(stage.add_pod("a"), offered)
    for name in ("b", "c"):
        await process.filter(stage.add_pod(name), offered)
        await stage.clock.advance(1)
    stage.cluster.remove(resources.PODS, "a", "team")
    await stage.clock.advance(0.1)
    assert (_woken(stage, "b"), _woken(stage, "c")) == (True, False)

    await stage.clock.advance(7)

    assert _woken(stage, "c")


async def test_a_pod_is_woken_only_for_nodes_that_its_scheduler_offered(stage: "Stage") -> None:
    offered = stage.add_nodes(2)
    stage.add_pool()
    stage.add_claim(memory="80Gi")
    process = await stage.start()
    await process.place(stage.add_pod("a"), ["gpu-0"])
    await process.filter(stage.add_pod("b"), ["gpu-0"])

    await stage.clock.advance(5)

    assert offered == ["gpu-0", "gpu-1"]
    assert not _woken(stage, "b")


async def test_a_promise_goes_with_its_pod(stage: "Stage") -> None:
    offered = stage.add_nodes(1)
    stage.add_pool()
    stage.add_claim(memory="80Gi")
    process = await stage.start()
    await process.filter(stage.add_pod("a"), offered)
    await process.filter(stage.add_pod("b"), offered)

    stage.cluster.remove(resources.PODS, "a", "team")
    await stage.clock.advance(0.1)

    assert _woken(stage, "b")


async def test_a_wish_is_granted_where_the_device_has_room(stage: "Stage") -> None:
    offered = stage.add_nodes(1)
    stage.add_pool()
    stage.add_claim()
    pod = stage.add_pod("a")
    process = await stage.start()
    await process.place(pod, offered)

    await stage.edit_node("gpu-0", _wish(pod["metadata"]["uid"], "60Gi"))
    await stage.clock.advance(0.1)

    _, entry = stage.ledger()[pod["metadata"]["uid"]]
    assert entry["allocated"]["memory"] == "60Gi"
    assert "wanted" not in entry


async def test_a_new_wish_does_not_wait_for_the_end_of_a_rest(stage: "Stage") -> None:
    offered = stage.add_nodes(1)
    stage.add_pool()
    stage.add_claim()
    pod = stage.add_pod("a")
    process = await stage.start()
    await process.place(pod, offered)
    await stage.clock.advance(0.1)

    for memory in ("60Gi", "70Gi"):
        await stage.edit_node("gpu-0", _wish(pod["metadata"]["uid"], memory))
        await settle()

        assert stage.ledger()[pod["metadata"]["uid"]][1]["allocated"]["memory"] == memory


async def test_a_wish_waits_for_room_and_is_granted_then(stage: "Stage") -> None:
    offered = stage.add_nodes(1)
    stage.add_pool()
    stage.add_claim()
    pod = stage.add_pod("a")
    process = await stage.start()
    await process.place(pod, offered)
    await process.place(stage.add_pod("b"), offered)
    await stage.edit_node("gpu-0", _wish(pod["metadata"]["uid"], "60Gi"))
    await stage.clock.advance(3)
    assert stage.ledger()[pod["metadata"]["uid"]][1]["allocated"]["memory"] == "40Gi"

    stage.cluster.remove(resources.PODS, "b", "team")
    await stage.clock.advance(1)

    assert stage.ledger()[pod["metadata"]["uid"]][1]["allocated"]["memory"] == "60Gi"
    stage.check_invariants()


async def test_a_wish_above_the_quota_waits(stage: "Stage") -> None:
    offered = stage.add_nodes(1)
    stage.add_pool(quotas=[{"namespace": "team", "nominal": {"memory": "40Gi", "computePercent": 100}}])
    stage.add_claim()
    pod = stage.add_pod("a")
    process = await stage.start()
    await process.place(pod, offered)

    await stage.edit_node("gpu-0", _wish(pod["metadata"]["uid"], "60Gi"))
    await stage.clock.advance(3)

    assert stage.ledger()[pod["metadata"]["uid"]][1]["allocated"]["memory"] == "40Gi"


async def test_a_grant_that_lost_a_race_is_decided_again(stage: "Stage") -> None:
    offered = stage.add_nodes(1)
    stage.add_pool(quotas=[{"namespace": "team", "nominal": {"memory": "60Gi", "computePercent": 100}}])
    stage.add_claim()
    pod = stage.add_pod("a")
    process = await stage.start()
    await process.place(pod, offered)
    conflict = errors.Conflict(409, "Conflict", "somebody was faster")
    stage.cluster.fail_next(conflict, verb="patch_json", resource=resources.VGPU_NODES, times=3)

    await stage.edit_node("gpu-0", _wish(pod["metadata"]["uid"], "60Gi"))
    await stage.clock.advance(0.1)

    assert stage.ledger()[pod["metadata"]["uid"]][1]["allocated"]["memory"] == "60Gi"


def _wish(slice_id: str, memory: str) -> Callable[[Object], None]:
    def edit(raw: Object) -> None:
        entry = raw["spec"]["slices"][slice_id]
        entry["limits"] = {"memory": memory, "computePercent": 25}
        entry["wanted"] = {"memory": memory, "computePercent": 25}

    return edit
