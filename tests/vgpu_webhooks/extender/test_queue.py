"""The queue: in order, with a slice before the gate opens, and nobody asked about for nothing."""

from typing import TYPE_CHECKING

import prometheus_client as prometheus
import pytest

from vgpu.api import names
from vgpu_kube import errors, resources
from vgpu_webhooks.extender import waiting

if TYPE_CHECKING:
    from tests.vgpu_webhooks.extender.conftest import Stage


async def test_a_pod_behind_the_gate_gets_its_slice_a_nomination_and_an_open_gate(stage: "Stage") -> None:
    stage.add_nodes(2)
    stage.add_pool()
    stage.add_claim()
    process = await stage.start()

    pod = stage.queue_pod("a")
    await stage.clock.advance(0.1)

    node = stage.nominated()["a"]
    assert stage.ledger()[pod["metadata"]["uid"]][0] == node
    assert process.wire.writes == ["patch_json", "patch_merge", "patch_merge"]


async def test_kube_scheduler_is_answered_with_the_nominated_node_and_the_bind_writes_no_ledger(
    stage: "Stage",
) -> None:
    stage.add_nodes(2)
    stage.add_pool()
    stage.add_claim()
    process = await stage.start()
    stage.queue_pod("a")
    await stage.clock.advance(0.1)
    node = stage.nominated()["a"]

    assert await process.place(stage.pod("a"), [node]) == node

    assert process.wire.writes[3:] == ["bind"]
    stage.check_invariants()


async def test_a_nominated_node_that_kube_scheduler_refuses_is_left_for_another(stage: "Stage") -> None:
    offered = stage.add_nodes(2)
    stage.add_pool()
    stage.add_claim()
    process = await stage.start()
    stage.queue_pod("a")
    await stage.clock.advance(0.1)
    [other] = [name for name in offered if name != stage.nominated()["a"]]

    assert await process.place(stage.pod("a"), [other]) == other

    assert [node for node, _ in stage.ledger().values()] == [other]
    stage.check_invariants()


async def test_a_pod_that_kube_scheduler_turns_down_keeps_nothing_and_is_not_nominated_again(
    stage: "Stage",
) -> None:
    stage.add_nodes(1)
    stage.add_pool()
    stage.add_claim()
    process = await stage.start()
    stage.queue_pod("a")
    await stage.clock.advance(0.1)
    written = len(process.wire.writes)

    await stage.turn_down("a")
    await stage.clock.advance(120)

    assert stage.ledger() == {}
    assert process.wire.writes[written:] == ["patch_json"], "the release, and nothing else"


async def test_another_gate_keeps_a_pod_out_of_the_queue(stage: "Stage") -> None:
    stage.add_nodes(1)
    stage.add_pool()
    stage.add_claim()
    await stage.start()

    stage.add_pod("a", schedulingGates=[{"name": "other.dev/gate"}, {"name": names.QUEUE_GATE}])
    await stage.clock.advance(5)

    assert stage.ledger() == {}


async def test_the_higher_priority_and_then_the_older_goes_first(stage: "Stage") -> None:
    offered = stage.add_nodes(1)
    stage.add_pool()
    stage.add_claim(memory="80Gi")
    process = await stage.start()
    await process.place(stage.add_pod("full", priority=100), offered)
    for name, priority in (("low", 0), ("old", 10), ("young", 10)):
        stage.queue_pod(name, priority=priority)
        await stage.clock.advance(1)

    stage.cluster.remove(resources.PODS, "full", "team")
    await stage.clock.advance(1)

    assert set(stage.nominated()) == {"old"}


async def test_namespaces_are_served_by_the_share_of_their_quota(stage: "Stage") -> None:
    stage.add_nodes(2, gpus=2)
    nominal = {"memory": "320Gi", "computePercent": 400}
    stage.add_pool(quotas=[{"namespace": name, "nominal": nominal} for name in ("team", "other")])
    for namespace in ("team", "other"):
        stage.add_claim(memory="80Gi", namespace=namespace)
        for index in range(4):
            stage.queue_pod(f"{namespace}-{index}", namespace=namespace)

    await stage.start()
    await stage.clock.advance(0.1)

    assert sorted(stage.nominated()) == ["other-0", "other-1", "team-0", "team-1"]


async def test_a_pod_that_waits_says_why_once(stage: "Stage") -> None:
    stage.add_nodes(1)
    stage.add_pool()
    stage.add_claim(memory="60Gi")
    await stage.start()
    for name in ("a", "b"):
        stage.queue_pod(name)

    await stage.clock.advance(20)

    [waits] = {"a", "b"} - set(stage.nominated())
    assert stage.told(waits) == ["NoFit"]
    [event] = stage.cluster.objects(resources.EVENTS)
    assert event["note"] == "1 node: no GPU with 60 GiB memory free"


async def test_a_missing_claim_is_told_and_its_arrival_noticed(stage: "Stage") -> None:
    stage.add_nodes(1)
    stage.add_pool()
    await stage.start()
    stage.queue_pod("a")
    await stage.clock.advance(1)
    assert stage.told("a") == ["ClaimNotFound"]

    stage.add_claim()
    await stage.clock.advance(1)

    assert set(stage.nominated()) == {"a"}


async def test_thousands_that_wait_are_not_asked_about_while_nothing_changes(stage: "Stage") -> None:
    stage.add_nodes(1)
    stage.add_pool()
    stage.add_claim(memory="80Gi")
    registry = prometheus.CollectorRegistry()
    await stage.start(registry=registry)
    for index in range(50):
        stage.queue_pod(f"p{index}")
    await stage.clock.advance(2)
    decided = _decisions(registry)

    await stage.clock.advance(15)  # until the review of all that is due each half minute

    assert _decisions(registry) == decided


async def test_a_status_written_on_a_claim_makes_nobody_ask_again(stage: "Stage") -> None:
    stage.add_nodes(1)
    stage.add_pool()
    stage.add_claim(memory="90Gi")
    registry = prometheus.CollectorRegistry()
    await stage.start(registry=registry)
    stage.queue_pod("a")
    await stage.clock.advance(2)
    decided = _decisions(registry)

    status = {"status": {"podCount": 1}}
    await stage.cluster.patch_merge(resources.VGPU_CLAIMS, "claim", status, "team", subresource="status")
    await stage.clock.advance(2)
    assert _decisions(registry) == decided

    floor = {"spec": {"resources": {"requests": {"memory": "40Gi"}}}}
    await stage.cluster.patch_merge(resources.VGPU_CLAIMS, "claim", floor, "team")
    await stage.clock.advance(2)
    assert set(stage.nominated()) == {"a"}


async def test_no_more_than_a_window_is_on_the_way(stage: "Stage") -> None:
    stage.add_nodes(30, gpus=4)
    stage.add_pool()
    stage.add_claim(memory="80Gi")
    process = await stage.start()
    for index in range(waiting.WINDOW + 10):
        stage.queue_pod(f"p{index:03}")
    await stage.clock.advance(2)
    assert len(stage.nominated()) == waiting.WINDOW

    for name, node in sorted(stage.nominated().items())[: waiting.WINDOW // 4]:
        assert await process.bind(stage.pod(name), node) == ""
    await stage.clock.advance(2)

    bound = waiting.WINDOW // 4
    assert len(stage.nominated()) + bound == waiting.WINDOW + 10
    stage.check_invariants()


async def test_a_pod_without_room_is_ungated_after_the_pools_time_and_woken_when_there_is_some(
    stage: "Stage",
) -> None:
    offered = stage.add_nodes(1)
    stage.add_pool(queue={"ungateAfterSeconds": 20})
    stage.add_claim(memory="80Gi")
    process = await stage.start()
    await process.place(stage.add_pod("full"), offered)
    stage.queue_pod("late")
    await stage.clock.advance(18)
    assert stage.pod("late")["spec"]["schedulingGates"]

    await stage.clock.advance(4)
    assert not stage.pod("late")["spec"].get("schedulingGates")
    assert sorted(stage.told("late")) == ["NoFit", "Ungated"]
    assert (await process.filter(stage.pod("late"), offered))["NodeNames"] == []

    stage.cluster.remove(resources.PODS, "full", "team")
    await stage.clock.advance(1)
    assert names.RETRY_ANNOTATION in stage.pod("late")["metadata"]["annotations"]


@pytest.mark.parametrize(("policy", "seen"), [("PreemptLowerPriority", True), ("Never", False)])
async def test_a_pod_that_may_displace_others_is_shown_to_kube_scheduler_at_once(
    stage: "Stage", policy: str, seen: bool
) -> None:
    offered = stage.add_nodes(1)
    stage.add_pool()
    stage.add_claim(memory="80Gi")
    process = await stage.start()
    await process.place(stage.add_pod("modest"), offered)

    gates = [{"name": names.QUEUE_GATE}]
    stage.add_pod("urgent", priority=10, preemptionPolicy=policy, schedulingGates=gates)
    await stage.clock.advance(2)

    assert ("schedulingGates" not in stage.pod("urgent")["spec"]) is seen


async def test_a_pod_that_waits_for_quota_keeps_its_gate(stage: "Stage") -> None:
    stage.add_nodes(1)
    stage.add_pool(
        queue={"ungateAfterSeconds": 1},
        quotas=[{"namespace": "team", "nominal": {"memory": "40Gi", "computePercent": 25}}],
    )
    stage.add_claim()
    await stage.start()
    for name in ("a", "b"):
        stage.queue_pod(name)

    await stage.clock.advance(10)

    [waits] = {"a", "b"} - set(stage.nominated())
    assert stage.pod(waits)["spec"]["schedulingGates"]
    assert stage.told(waits) == ["WaitingForQuota"]


@pytest.mark.parametrize("verb", ["patch_json", "patch_merge"])
async def test_a_write_that_fails_is_tried_again(stage: "Stage", verb: str) -> None:
    stage.add_nodes(1)
    stage.add_pool()
    stage.add_claim()
    await stage.start()
    stage.cluster.fail_next(errors.Unavailable(503, "Unavailable", "come back later"), verb=verb, times=2)

    stage.queue_pod("a")
    await stage.clock.advance(5)

    assert set(stage.nominated()) == {"a"}
    stage.check_invariants()


async def test_what_fails_while_the_lease_is_in_doubt_is_taken_up_again(stage: "Stage") -> None:
    stage.add_nodes(4)
    stage.add_pool()
    stage.add_claim(memory="80Gi")
    process = await stage.start()
    lost = errors.Unavailable(0, "Timeout", "no answer in time")
    stage.cluster.fail_next(lost, resource=resources.LEASES, times=3)
    stage.cluster.fail_next(lost, verb="patch_merge", resource=resources.PODS, times=3)
    for index in range(4):
        stage.queue_pod(f"p{index}")
    await stage.clock.advance(4.6)
    assert not process.served.lead.active

    await stage.clock.advance(10)

    assert len(stage.nominated()) == 4
    stage.check_invariants()


async def test_a_pod_deleted_while_it_waits_is_forgotten(stage: "Stage") -> None:
    stage.add_nodes(1)
    stage.add_pool()
    stage.add_claim(memory="90Gi")
    process = await stage.start()
    stage.queue_pod("a")
    await stage.clock.advance(1)
    assert len(process.served.waiting.entries) == 1

    stage.cluster.remove(resources.PODS, "a", "team")
    await stage.clock.advance(1)

    assert not process.served.waiting.entries


WRITES = [(verb, moment) for verb in ("patch_json", "patch_merge") for moment in ("before", "after")]


@pytest.mark.parametrize("die_at", WRITES)
async def test_a_pod_whose_extender_died_at_a_write_is_led_by_the_next(
    stage: "Stage", die_at: tuple[str, str]
) -> None:
    offered = stage.add_nodes(3)
    stage.add_pool()
    stage.add_claim()
    process = await stage.start()
    process.wire.die_at = die_at
    stage.queue_pod("a")
    await stage.clock.advance(0.1)

    successor = await stage.succeed(process)

    assert await successor.place(stage.pod("a"), [stage.nominated()["a"]]) in offered
    assert len(stage.ledger()) == 1
    stage.check_invariants()


async def test_a_standby_leads_nobody(stage: "Stage") -> None:
    stage.add_nodes(1)
    stage.add_pool()
    stage.add_claim()
    await stage.start("one")
    standby = await stage.start("two")

    stage.queue_pod("a")
    await stage.clock.advance(3)

    assert set(stage.nominated()) == {"a"}
    assert standby.wire.writes == []


def _decisions(registry: prometheus.CollectorRegistry) -> float:
    return registry.get_sample_value("vgpu_placement_duration_seconds_count", {"verb": "queue"}) or 0.0
