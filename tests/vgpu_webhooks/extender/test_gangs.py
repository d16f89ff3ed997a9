"""Gangs: all or none, in the ledger and at Bind."""

import asyncio
from typing import TYPE_CHECKING

from vgpu_kube import errors, resources
from vgpu_kube.testing.clock import settle

if TYPE_CHECKING:
    from tests.vgpu_webhooks.extender.conftest import Process, Stage


async def test_a_gang_is_led_together(stage: "Stage") -> None:
    process = await _gang_of(4, stage, nodes=4)

    await stage.clock.advance(0.1)

    assert len(stage.nominated()) == 4
    await _bind_all(process, stage)
    stage.check_invariants()


async def test_a_gang_that_fits_in_part_holds_nothing(stage: "Stage") -> None:
    await _gang_of(4, stage, nodes=3)

    await stage.clock.advance(2)

    assert stage.ledger() == {}
    assert stage.told("p0") == ["NoFit"]
    notes = {each["note"] for each in stage.cluster.objects(resources.EVENTS)}
    assert notes == {
        "4 pods start together and 3 of them have a place; 3 nodes: no GPU with 80 GiB memory free"
    }


async def test_a_gang_waits_for_its_last_pod(stage: "Stage") -> None:
    await _gang_of(4, stage, nodes=4, there=3)
    await stage.clock.advance(2)
    assert stage.ledger() == {}
    assert stage.told("p0") == ["WaitingForGang"]

    stage.queue_pod("p3")
    await stage.clock.advance(0.1)

    assert len(stage.nominated()) == 4


async def test_pods_beyond_the_gang_follow_singly(stage: "Stage") -> None:
    process = await _gang_of(3, stage, nodes=4, there=4)
    await stage.clock.advance(0.1)
    assert len(stage.nominated()) == 4
    await _bind_all(process, stage)

    stage.cluster.remove(resources.PODS, "p3", "team")
    stage.queue_pod("p4")
    await stage.clock.advance(1)

    assert set(stage.nominated()) == {"p4"}


async def test_nobody_of_a_gang_is_bound_before_all_are_here(stage: "Stage") -> None:
    process = await _gang_of(2, stage, nodes=2)
    await stage.clock.advance(0.1)
    nodes = stage.nominated()

    first = asyncio.create_task(process.bind(stage.pod("p0"), nodes["p0"]))
    await settle()
    assert "nodeName" not in stage.pod("p0")["spec"]

    assert await process.bind(stage.pod("p1"), nodes["p1"]) == ""
    assert await first == ""


async def test_a_gang_that_does_not_come_together_in_time_is_not_bound(stage: "Stage") -> None:
    process = await _gang_of(2, stage, nodes=2)
    await stage.clock.advance(0.1)
    first = asyncio.create_task(process.bind(stage.pod("p0"), stage.nominated()["p0"]))

    await stage.clock.advance(5)

    assert "not all of the gang" in await first
    assert "nodeName" not in stage.pod("p0")["spec"]


async def test_one_that_kube_scheduler_turns_down_sends_the_others_back(stage: "Stage") -> None:
    process = await _gang_of(2, stage, nodes=2)
    await stage.clock.advance(0.1)

    await stage.turn_down("p1")
    await stage.clock.advance(1)

    assert stage.ledger() == {}
    offered = ["gpu-0", "gpu-1"]
    answer = await process.filter(stage.pod("p0"), offered)
    assert answer["NodeNames"] == []
    assert set(answer["FailedNodes"].values()) == {
        "2 pods of its claim start together and have no place for all yet"
    }
    assert (await process.filter(stage.pod("p1"), offered))["NodeNames"] == []
    await stage.clock.advance(1.5)
    assert len(stage.ledger()) == 2, "all have asked again, so all have a place again"


async def test_a_write_that_fails_leaves_no_part_of_a_gang(stage: "Stage") -> None:
    process = await _gang_of(3, stage, nodes=3, there=2)
    await stage.clock.advance(0.1)
    failure = errors.Unavailable(503, "Unavailable", "come back later")
    stage.cluster.fail_next(failure, verb="patch_json", resource=resources.VGPU_NODES)
    stage.queue_pod("p2")
    await stage.clock.advance(0.2)
    assert stage.nominated() == {}

    await stage.clock.advance(5)

    assert len(stage.nominated()) == 3
    await _bind_all(process, stage)
    stage.check_invariants()


async def _gang_of(size: int, stage: "Stage", *, nodes: int, there: int | None = None) -> "Process":
    stage.add_nodes(nodes)
    stage.add_pool()
    stage.add_claim(memory="80Gi", gang={"minPods": size})
    process = await stage.start()
    for index in range(size if there is None else there):
        stage.queue_pod(f"p{index}")
    return process


async def _bind_all(process: "Process", stage: "Stage") -> None:
    nodes = stage.nominated()
    answers = await asyncio.gather(*(process.bind(stage.pod(name), node) for name, node in nodes.items()))
    assert set(answers) == {""}
