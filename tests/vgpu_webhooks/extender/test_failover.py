"""Death and succession: killed on either side of each write, and two extenders of which one acts."""

import asyncio
from typing import TYPE_CHECKING

import pytest

from vgpu_kube import errors, resources
from vgpu_kube.testing.clock import settle

if TYPE_CHECKING:
    from tests.vgpu_webhooks.extender.conftest import Stage

WRITES = [(verb, moment) for verb in ("patch_json", "bind") for moment in ("before", "after")]


@pytest.mark.parametrize("die_at", WRITES)
async def test_a_pod_whose_extender_died_at_a_write_is_placed_once(
    stage: "Stage", die_at: tuple[str, str]
) -> None:
    offered = stage.add_nodes(3)
    stage.add_pool()
    stage.add_claim()
    pod = stage.add_pod("a")
    process = await stage.start()
    [node] = (await process.filter(pod, offered))["NodeNames"]
    process.wire.die_at = die_at
    with pytest.raises(stage.death):
        await process.bind(pod, node)

    successor = await stage.succeed(process)
    if "nodeName" not in stage.pod("a")["spec"]:
        await successor.place(pod, offered)

    assert len(stage.ledger()) == 1
    stage.check_invariants()


@pytest.mark.parametrize("die_at", WRITES)
async def test_what_a_death_left_behind_is_gone_after_30_seconds(
    stage: "Stage", die_at: tuple[str, str]
) -> None:
    offered = stage.add_nodes(3)
    stage.add_pool()
    stage.add_claim()
    pod = stage.add_pod("a")
    process = await stage.start()
    [node] = (await process.filter(pod, offered))["NodeNames"]
    process.wire.die_at = die_at
    with pytest.raises(stage.death):
        await process.bind(pod, node)

    await stage.succeed(process)
    await stage.clock.advance(31)

    bound = "nodeName" in stage.pod("a")["spec"]
    assert len(stage.ledger()) == (1 if bound else 0)
    stage.check_invariants()


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_release_is_finished_by_the_successor(stage: "Stage", moment: str) -> None:
    offered = stage.add_nodes(1)
    stage.add_pool()
    stage.add_claim()
    process = await stage.start()
    await process.place(stage.add_pod("a"), offered)
    process.wire.die_at = ("patch_json", moment)
    stage.cluster.remove(resources.PODS, "a", "team")
    await stage.clock.advance(0.1)

    await stage.succeed(process)

    assert stage.ledger() == {}


async def test_a_standby_answers_who_is_active_and_never_writes(stage: "Stage") -> None:
    offered = stage.add_nodes(2)
    stage.add_pool()
    stage.add_claim()
    active = await stage.start("one")
    standby = await stage.start("two")
    pod = stage.add_pod("a")

    answer = await standby.filter(pod, offered)

    assert answer["Error"] == "standby: one is active"
    assert "standby" in await standby.bind(pod, "gpu-0")
    assert standby.served.unready() is None
    assert standby.served.role == "standby: one is active"
    assert active.served.lead.active
    assert standby.wire.writes == []


async def test_the_lease_goes_to_the_extender_that_is_called(stage: "Stage") -> None:
    offered = stage.add_nodes(2)
    stage.add_pool()
    stage.add_claim()
    first = await stage.start("one")
    second = await stage.start("two")
    pod = stage.add_pod("a")
    await second.filter(pod, offered)

    await stage.clock.advance(4)

    assert not first.served.lead.active
    assert second.served.lead.active
    await second.place(pod, offered)
    stage.check_invariants()


async def test_the_holder_keeps_the_lease_while_its_own_scheduler_calls(stage: "Stage") -> None:
    offered = stage.add_nodes(2)
    stage.add_pool()
    stage.add_claim()
    first = await stage.start("one")
    second = await stage.start("two")
    pod = stage.add_pod("a")
    await second.filter(stage.add_pod("stray"), offered)

    for _ in range(40):
        await stage.clock.advance(0.2)
        await first.filter(pod, offered)

    assert first.served.lead.active
    assert not second.served.lead.active
    await stage.clock.advance(20)
    assert first.served.lead.active


async def test_a_dead_holders_lease_is_taken_over_and_nothing_is_booked_twice(stage: "Stage") -> None:
    offered = stage.add_nodes(2)
    stage.add_pool()
    stage.add_claim(memory="80Gi")
    first = await stage.start("one")
    second = await stage.start("two")
    node = await first.place(stage.add_pod("a"), offered)
    first.wire.dead = True
    pod = stage.add_pod("b")
    await second.filter(pod, offered)

    await stage.clock.advance(12)

    assert second.served.lead.active
    assert await second.place(pod, offered) != node
    stage.check_invariants()


async def test_two_at_once_never_both_count_as_active(stage: "Stage") -> None:
    offered = stage.add_nodes(1)
    stage.add_pool()
    stage.add_claim()
    first = await stage.start("one")
    second = await stage.start("two")
    pod = stage.add_pod("a")
    turns = set()

    for step in range(60):
        caller = (first, second)[step // 20 % 2]
        await caller.filter(pod, offered)
        await stage.clock.advance(0.3)
        actives = [each.served.lead.active for each in (first, second)]
        assert sum(actives) <= 1
        turns.add(tuple(actives))

    assert {(True, False), (False, True)} <= turns


async def test_a_fresh_leader_decides_on_what_the_last_one_wrote(stage: "Stage") -> None:
    offered = stage.add_nodes(1)
    stage.add_pool()
    stage.add_claim(memory="80Gi")
    first = await stage.start("one")
    second = await stage.start("two")
    stage.cluster.hold_watches()
    await first.place(stage.add_pod("a"), offered)
    pod = stage.add_pod("b")
    await second.filter(pod, offered)

    await stage.clock.advance(4)
    assert second.served.lead.active

    assert (await second.filter(pod, offered))["NodeNames"] == []


async def test_a_fresh_leader_wakes_the_pods_that_the_last_one_refused(stage: "Stage") -> None:
    offered = stage.add_nodes(1)
    stage.add_pool()
    stage.add_claim(memory="80Gi")
    first = await stage.start("one")
    await first.place(stage.add_pod("a"), offered)
    await first.filter(stage.add_pod("b"), offered)
    first.wire.dead = True
    stage.cluster.remove(resources.PODS, "a", "team")

    await stage.succeed(first)

    assert "vgpu.dev/retry" in stage.pod("b")["metadata"]["annotations"]


async def test_a_call_waits_for_the_handover_and_is_answered_then(stage: "Stage") -> None:
    offered = stage.add_nodes(2)
    stage.add_pool()
    stage.add_claim()
    await stage.start("one")
    second = await stage.start("two", patience_seconds=4.0)
    call = asyncio.create_task(second.filter(stage.add_pod("a"), offered))
    await settle()
    assert not call.done()

    await stage.clock.advance(3.5)

    assert (await call)["NodeNames"] == ["gpu-0"]


async def test_a_late_renewal_delays_a_write_and_does_not_fail_it(stage: "Stage") -> None:
    offered = stage.add_nodes(2)
    stage.add_pool()
    stage.add_claim()
    process = await stage.start(patience_seconds=4.0)
    pod = stage.add_pod("a")
    await process.filter(pod, offered)
    unreachable = errors.Unavailable(0, "Timeout", "no answer in time")
    stage.cluster.fail_next(unreachable, resource=resources.LEASES, times=3)
    await stage.clock.advance(4.6)
    assert not process.served.lead.active

    binding = asyncio.create_task(process.bind(pod, "gpu-0"))
    await settle()
    assert process.wire.writes == []

    await stage.clock.advance(2)
    assert await binding == ""
    stage.check_invariants()


async def test_what_was_decided_before_a_loss_is_not_written_after_it(stage: "Stage") -> None:
    stage.add_nodes(1)
    stage.add_pool()
    stage.add_claim()
    process = await stage.start()
    reign = process.served.lead.reign
    stage.cluster.fail_next(
        errors.Unavailable(0, "Timeout", "no answer in time"), resource=resources.LEASES, times=8
    )

    await stage.clock.advance(20)

    assert process.served.lead.active
    assert not await process.served.lead.sure(reign)
    assert await process.served.lead.sure(process.served.lead.reign)
