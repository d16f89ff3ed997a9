"""Filter and Bind: where a pod goes, what the ledger says afterwards, and what kube-scheduler hears."""

import asyncio
from typing import TYPE_CHECKING

import pytest

from vgpu.api import names
from vgpu_kube import errors, resources
from vgpu_kube.testing import Moment
from vgpu_kube.testing.clock import settle

if TYPE_CHECKING:
    from tests.vgpu_webhooks.extender.conftest import Stage


async def test_a_pod_is_placed_held_and_bound_with_its_devices(stage: "Stage") -> None:
    offered = stage.add_nodes(2)
    stage.add_pool()
    stage.add_claim()
    pod = stage.add_pod("a")
    process = await stage.start()

    node = await process.place(pod, offered)

    bound = stage.pod("a")
    assert bound["spec"]["nodeName"] == node
    held_on, entry = stage.ledger()[pod["metadata"]["uid"]]
    assert held_on == node
    annotations = bound["metadata"]["annotations"]
    assert annotations[names.DEVICES_ANNOTATION] == ",".join(entry["deviceUUIDs"])
    assert annotations[names.SLICE_ANNOTATION] == pod["metadata"]["uid"]
    stage.check_invariants()


async def test_filter_gives_the_same_node_again_also_when_only_it_is_offered(stage: "Stage") -> None:
    offered = stage.add_nodes(3)
    stage.add_pool()
    stage.add_claim(memory="80Gi")
    pod = stage.add_pod("a")
    process = await stage.start()

    first = await process.filter(pod, offered)
    again = await process.filter(pod, offered)
    alone = await process.filter(pod, first["NodeNames"])

    assert first["NodeNames"] == again["NodeNames"] == alone["NodeNames"]
    assert len(process.served.book.promises) == 1


async def test_a_promise_follows_when_its_node_is_not_offered_any_more(stage: "Stage") -> None:
    offered = stage.add_nodes(2)
    stage.add_pool()
    stage.add_claim(memory="80Gi")
    pod = stage.add_pod("a")
    process = await stage.start()
    [first] = (await process.filter(pod, offered))["NodeNames"]

    [second] = (await process.filter(pod, [name for name in offered if name != first]))["NodeNames"]

    assert second != first
    assert [each.node for each in process.served.book.promises.values()] == [second]


async def test_a_refusal_names_every_node_with_its_reason(stage: "Stage") -> None:
    offered = stage.add_nodes(2)
    stage.add_pool()
    stage.add_claim(memory="80Gi")
    process = await stage.start()
    for name in ("a", "b"):
        await process.place(stage.add_pod(name), offered)

    answer = await process.filter(stage.add_pod("c"), [*offered, "cpu-0"])

    assert answer["NodeNames"] == []
    assert answer["FailedNodes"] == {
        "gpu-0": "no GPU with 80 GiB memory free",
        "gpu-1": "no GPU with 80 GiB memory free",
        "cpu-0": "its agent has reported no GPUs",
    }


async def test_a_quota_refusal_says_the_same_sentence_for_every_node(stage: "Stage") -> None:
    offered = stage.add_nodes(2)
    stage.add_pool(quotas=[{"namespace": "team", "nominal": {"memory": "40Gi", "computePercent": 100}}])
    stage.add_claim()
    process = await stage.start()
    await process.place(stage.add_pod("a"), offered)

    answer = await process.filter(stage.add_pod("b"), offered)

    assert set(answer["FailedNodes"]) == set(offered)
    [sentence] = set(answer["FailedNodes"].values())
    assert "25 percent asked; namespace team holds" in sentence
    assert "%" not in sentence, "kube-scheduler takes it for a format"


async def test_a_missing_claim_is_an_error_that_names_it(stage: "Stage") -> None:
    offered = stage.add_nodes(1)
    stage.add_pool()
    process = await stage.start()

    answer = await process.filter(stage.add_pod("a", claim="nowhere"), offered)

    assert "expected VGPUClaim nowhere in namespace team" in answer["Error"]
    assert "create the claim" in answer["Error"]


async def test_a_claim_that_the_watch_has_not_shown_yet_is_found(stage: "Stage") -> None:
    offered = stage.add_nodes(1)
    stage.add_pool()
    process = await stage.start()
    stage.cluster.hold_watches()
    stage.add_claim()

    answer = await process.filter(stage.add_pod("a"), offered)

    assert answer["NodeNames"] == offered


async def test_nobody_joins_a_claim_that_is_being_deleted(stage: "Stage") -> None:
    offered = stage.add_nodes(1)
    stage.add_pool()
    claim = stage.add_claim()
    claim["metadata"]["finalizers"] = [names.FINALIZER]
    stage.cluster.remove(resources.VGPU_CLAIMS, "claim", "team")
    stage.cluster.add(resources.VGPU_CLAIMS, claim)
    await stage.cluster.delete(resources.VGPU_CLAIMS, "claim", "team")
    process = await stage.start()

    answer = await process.filter(stage.add_pod("a"), offered)

    assert "is being deleted" in answer["Error"]


async def test_the_default_pool_takes_claims_that_name_none(stage: "Stage") -> None:
    offered = stage.add_nodes(1)
    stage.add_pool()
    stage.cluster.add(
        resources.VGPU_POOLS,
        {
            "metadata": {"name": "default", "annotations": {names.DEFAULT_POOL_ANNOTATION: "true"}},
            "spec": {"nodeSelector": {"matchLabels": {"gpu": "yes"}}},
        },
    )
    stage.add_claim(poolName=None)
    pod = stage.add_pod("a")
    process = await stage.start()

    await process.place(pod, offered)

    assert stage.ledger()[pod["metadata"]["uid"]][1]["poolName"] == "default"


async def test_pods_of_a_shared_claim_land_in_one_slice(stage: "Stage") -> None:
    offered = stage.add_nodes(3)
    stage.add_pool()
    claim = stage.add_claim(allocationMode="Shared")
    pods = [stage.add_pod(f"p{index}") for index in range(4)]
    process = await stage.start()

    nodes = await asyncio.gather(*(process.place(pod, offered) for pod in pods))

    assert len(set(nodes)) == 1
    assert set(stage.ledger()) == {claim["metadata"]["uid"]}
    assert len(stage.ledger()[claim["metadata"]["uid"]][1]["pods"]) == 4
    stage.check_invariants()


async def test_32_concurrent_callers_oversell_nothing(stage: "Stage") -> None:
    offered = stage.add_nodes(4, gpus=2)
    stage.add_pool()
    stage.add_claim(memory="20Gi")
    pods = [stage.add_pod(f"p{index}") for index in range(40)]
    process = await stage.start()

    async def schedule(index: int) -> str | None:
        answer = await process.filter(pods[index], offered)
        if not answer["NodeNames"]:
            return None
        assert await process.bind(pods[index], answer["NodeNames"][0]) == ""
        return str(answer["NodeNames"][0])

    placed = await asyncio.gather(*(schedule(index) for index in range(40)))

    assert sum(node is not None for node in placed) == 32
    stage.check_invariants()


async def test_bind_twice_answers_twice_the_same(stage: "Stage") -> None:
    offered = stage.add_nodes(1)
    stage.add_pool()
    stage.add_claim()
    pod = stage.add_pod("a")
    process = await stage.start()
    await process.place(pod, offered)
    written = list(process.wire.writes)

    assert await process.bind(pod, "gpu-0") == ""

    await settle()
    assert process.wire.writes == written


async def test_bind_places_anew_when_the_promise_has_run_out(stage: "Stage") -> None:
    offered = stage.add_nodes(1)
    stage.add_pool()
    stage.add_claim()
    pod = stage.add_pod("a")
    process = await stage.start()
    await process.filter(pod, offered)
    await stage.clock.advance(40)
    assert process.served.book.promises == {}

    assert await process.bind(pod, "gpu-0") == ""

    stage.check_invariants()


async def test_a_ledger_that_moved_on_is_read_again(stage: "Stage") -> None:
    offered = stage.add_nodes(1, gpus=2)
    stage.add_pool()
    stage.add_claim(memory="80Gi")
    pod = stage.add_pod("a")
    process = await stage.start()
    await process.filter(pod, offered)
    [promise] = process.served.book.promises.values()
    stage.cluster.hold_watches()

    await stage.edit_node("gpu-0", lambda raw: raw["spec"].update(cordonedDevices=list(promise.device_uuids)))
    assert await process.bind(pod, "gpu-0") == ""

    held = stage.ledger()[pod["metadata"]["uid"]][1]["deviceUUIDs"]
    assert set(held).isdisjoint(promise.device_uuids)


async def test_a_storm_of_conflicts_ends_in_an_error_and_no_slice(stage: "Stage") -> None:
    offered = stage.add_nodes(1)
    stage.add_pool()
    stage.add_claim()
    pod = stage.add_pod("a")
    process = await stage.start()
    await process.filter(pod, offered)
    conflict = errors.Conflict(409, "Conflict", "somebody was faster")
    stage.cluster.fail_next(conflict, verb="patch_json", resource=resources.VGPU_NODES, times=8)

    assert "met a newer ledger" in await process.bind(pod, "gpu-0")

    assert stage.ledger() == {}
    assert await process.bind(pod, "gpu-0") == ""


async def test_a_refused_binding_gives_the_slice_back(stage: "Stage") -> None:
    offered = stage.add_nodes(1)
    stage.add_pool()
    stage.add_claim()
    pod = stage.add_pod("a")
    process = await stage.start()
    await process.filter(pod, offered)
    stage.cluster.fail_next(errors.Forbidden(403, "Forbidden", "a policy says no"), verb="bind")

    assert "a policy says no" in await process.bind(pod, "gpu-0")

    assert stage.ledger() == {}


async def test_a_pod_deleted_before_its_binding_leaves_no_slice(stage: "Stage") -> None:
    offered = stage.add_nodes(1)
    stage.add_pool()
    stage.add_claim()
    pod = stage.add_pod("a")
    process = await stage.start()
    await process.filter(pod, offered)
    stage.cluster.hold_watches()
    stage.cluster.remove(resources.PODS, "a", "team")

    assert await process.bind(pod, "gpu-0") != ""

    assert stage.ledger() == {}


@pytest.mark.parametrize("verb", ["patch_json", "bind"])
async def test_a_lost_answer_is_looked_up(stage: "Stage", verb: str) -> None:
    offered = stage.add_nodes(1)
    stage.add_pool()
    stage.add_claim()
    pod = stage.add_pod("a")
    process = await stage.start()
    await process.filter(pod, offered)
    lost = errors.Unavailable(0, "Timeout", "no answer in time")
    resource = resources.VGPU_NODES if verb == "patch_json" else resources.PODS
    stage.cluster.hold_watches()
    stage.cluster.fail_next(lost, verb=verb, resource=resource, moment=Moment.AFTER)

    assert await process.bind(pod, "gpu-0") == ""

    assert stage.pod("a")["spec"]["nodeName"] == "gpu-0"
    stage.check_invariants()


async def test_a_binding_that_never_arrived_is_an_error_and_can_be_repeated(stage: "Stage") -> None:
    offered = stage.add_nodes(2)
    stage.add_pool()
    stage.add_claim()
    pod = stage.add_pod("a")
    process = await stage.start()
    [node] = (await process.filter(pod, offered))["NodeNames"]
    stage.cluster.fail_next(errors.Unavailable(0, "Timeout", "no answer in time"), verb="bind")

    assert "not known yet" in await process.bind(pod, node)

    assert await process.place(pod, offered) == node
    stage.check_invariants()


async def test_an_unbound_slice_moves_with_its_pod_when_its_node_is_not_offered(stage: "Stage") -> None:
    offered = stage.add_nodes(2)
    stage.add_pool()
    stage.add_claim()
    pod = stage.add_pod("a")
    process = await stage.start()
    [node] = (await process.filter(pod, offered))["NodeNames"]
    stage.cluster.fail_next(errors.Unavailable(0, "Timeout", "no answer in time"), verb="bind")
    await process.bind(pod, node)
    others = [name for name in offered if name != node]

    assert await process.place(pod, others) == others[0]

    assert [held_on for held_on, _ in stage.ledger().values()] == others
    stage.check_invariants()


async def test_a_bound_pod_is_never_taken_from_its_slice_by_a_late_filter(stage: "Stage") -> None:
    offered = stage.add_nodes(2)
    stage.add_pool()
    stage.add_claim()
    pod = stage.add_pod("a")
    process = await stage.start()
    stage.cluster.hold_watches()
    node = await process.place(pod, offered)

    answer = await process.filter(pod, [name for name in offered if name != node])

    assert f"bound to {node}" in answer["Error"]
    stage.check_invariants()
