"""What claims with waiting pods say: reasons, suggestions, and nothing where nothing changes."""

from typing import TYPE_CHECKING

from vgpu_kube.objects import Object

if TYPE_CHECKING:
    from tests.vgpu_operator.room.conftest import Stage


def amounts(gib: int, percent: int) -> Object:
    return {"memory": f"{gib}Gi", "computePercent": percent}


async def test_the_reasons_stand_in_the_status_where_nothing_but_more_gpus_would_help(stage: "Stage") -> None:
    await stage.holds("one", "gpu-0", amounts(30, 100))
    await stage.holds("two", "gpu-1", amounts(80, 40))

    await stage.waits(amounts(60, 30))

    shown = stage.waiting()
    assert shown["reason"] == "NoFit"
    assert sum(group["count"] for group in shown["nodes"]) == 2
    assert "suggestions" not in shown
    assert "WouldFit" not in stage.told()


async def test_a_smaller_claim_is_suggested_in_status_and_event(stage: "Stage") -> None:
    await stage.holds("one", "gpu-0", amounts(30, 40))
    await stage.holds("two", "gpu-1", amounts(80, 40))

    await stage.waits(amounts(60, 30))

    (only,) = stage.waiting()["suggestions"]
    assert only == {
        "message": "ask for 50 GiB memory per GPU, 10 GiB less",
        "changes": [{"type": "LessMemory", "memory": "50Gi"}],
    }
    assert "ask for 50 GiB" in stage.told()["WouldFit"]


async def test_a_wish_that_nothing_can_fulfil_costs_nothing_while_nothing_changes(stage: "Stage") -> None:
    await stage.holds("one", "gpu-0", amounts(20, 20))
    await stage.waits(amounts(200, 20))
    before = len(stage.cluster.requests)

    await stage.clock.advance(60)

    writes = [each for each in stage.cluster.requests[before:] if each.writes]
    assert writes == []


async def test_claims_that_wait_are_counted_by_reason(stage: "Stage") -> None:
    await stage.holds("one", "gpu-0", amounts(20, 20))
    await stage.waits(amounts(200, 20))
    await stage.clock.advance(2)

    labels = {"pool": "a100", "reason": "NoFit"}
    assert stage.metrics.registry.get_sample_value("vgpu_claims_waiting", labels) == 1


async def test_a_pod_is_only_helped_on_nodes_that_it_accepts(stage: "Stage") -> None:
    await stage.holds("one", "gpu-0", amounts(20, 20), amounts(60, 80))
    await stage.holds("two", "gpu-1", amounts(30, 40))

    await stage.waits(amounts(60, 30), nodeSelector={"name": "gpu-1"})

    assert stage.allocated("gpu-0")["one"] == amounts(60, 80)
    assert [each["message"] for each in stage.waiting()["suggestions"]] == [
        "ask for 50 GiB memory per GPU, 10 GiB less"
    ]


async def test_a_pod_whose_own_rules_exclude_every_node_with_room_says_so(stage: "Stage") -> None:
    await stage.waits(amounts(60, 30), nodeSelector={"name": "gpu-7"})

    assert stage.waiting()["nodes"] == [
        {"count": 2, "message": "the pod's node selector, affinity or tolerations rule it out"}
    ]


async def test_a_gang_that_lacks_room_for_one_says_how_many_have_it(stage: "Stage") -> None:
    await stage.gang(3, amounts(60, 60), pods=3)

    message = stage.bound()
    assert message.startswith(
        "pod late-0 and 2 other pods wait: 2 of the 3 pods that start together have room"
    )
    assert stage.waiting()["reason"] == "NoFit"


async def test_a_gang_that_is_not_all_there_waits_for_its_pods(stage: "Stage") -> None:
    await stage.gang(3, amounts(60, 60), pods=2)

    assert stage.bound() == ("pod late-0 and 1 other pod wait: 2 of the 3 pods that start together are there")
    assert stage.waiting() == {}


async def test_judging_a_gang_promises_nothing(stage: "Stage") -> None:
    await stage.gang(2, amounts(60, 60), pods=2)

    assert stage.reconciler.view.book.promises == {}
    assert stage.reconciler.view.book.used("a100") == {}
