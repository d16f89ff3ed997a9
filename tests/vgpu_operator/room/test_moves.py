"""Moves for pods that wait: proposed or carried out, as pools, budgets and rules allow."""

from typing import TYPE_CHECKING, Any

import pytest

from vgpu_kube import errors
from vgpu_kube.objects import Object
from vgpu_kube.testing import Moment, Request

if TYPE_CHECKING:
    from tests.vgpu_operator.room.conftest import Stage

BUDGET = errors.Unavailable(429, "TooManyRequests", "the disruption budget needs 1 healthy pod")


def amounts(gib: int, percent: int) -> Object:
    return {"memory": f"{gib}Gi", "computePercent": percent}


async def halved(stage: "Stage", **more: Any) -> None:
    """Two GPUs with 40 GiB free each: 60 GiB fit after one of two pods moves."""
    await stage.holds("left", "gpu-0", amounts(40, 20), namespace="team-b", **more)
    await stage.holds("right", "gpu-1", amounts(30, 20), namespace="team-b", **more)


async def test_a_move_is_proposed_and_nobody_moved(stage: "Stage") -> None:
    await halved(stage)

    await stage.waits(amounts(60, 20))

    first = stage.waiting()["suggestions"][0]["changes"]
    assert first == [{"type": "MovePods", "nodeName": "gpu-1", "podCount": 1, "memory": "30Gi"}]
    assert "team-b/right to gpu-0" in stage.told()["MoveProposed"]
    assert "right" not in str(stage.waiting())
    assert stage.evicted(real=False) == []


async def test_where_the_pool_says_so_the_pod_with_the_least_memory_is_evicted(stage: "Stage") -> None:
    await stage.pool(reclaim={"moves": "Evict"})
    await halved(stage)

    await stage.waits(amounts(60, 20))

    assert stage.evicted() == ["right"]
    assert "restart elsewhere" in stage.waiting()["progress"]
    assert "team-b/right" in stage.told()["PodsMoved"]
    assert "gpu-0 has room for it" in stage.told()["Moved"]


async def test_one_move_at_a_time_however_long_its_pods_take_to_leave(stage: "Stage") -> None:
    await stage.pool(reclaim={"moves": "Evict"})
    await halved(stage)

    await stage.waits(amounts(60, 20))
    await stage.clock.advance(120)

    assert stage.evicted() == ["right"]


async def test_what_a_budget_keeps_is_left_and_the_next_cheapest_moved(stage: "Stage") -> None:
    await stage.pool(reclaim={"moves": "Evict"})
    await halved(stage)

    def kept(request: Request, moment: Moment) -> None:
        if request.subresource == "eviction" and request.name == "right" and moment is Moment.BEFORE:
            raise BUDGET

    stage.cluster.on_request = kept
    await stage.waits(amounts(60, 20))
    await stage.clock.advance(3)

    assert stage.evicted() == ["left"]


async def test_a_pod_that_a_policy_keeps_holds_nobody_else_up(stage: "Stage") -> None:
    await stage.pool(reclaim={"moves": "Evict"})
    await halved(stage)

    def kept(request: Request, moment: Moment) -> None:
        if request.subresource == "eviction" and request.name == "right" and moment is Moment.BEFORE:
            raise errors.Forbidden(403, "Forbidden", "a policy of the team keeps it")

    stage.cluster.on_request = kept
    await stage.waits(amounts(60, 20))
    await stage.clock.advance(3)

    assert stage.evicted() == ["left"]


async def test_a_budget_that_keeps_all_is_asked_again_later_and_seldom(stage: "Stage") -> None:
    await stage.pool(reclaim={"moves": "Evict"})
    await halved(stage)

    def kept(request: Request, moment: Moment) -> None:
        if request.subresource == "eviction" and moment is Moment.BEFORE:
            raise BUDGET

    stage.cluster.on_request = kept
    await stage.waits(amounts(60, 20))
    await stage.clock.advance(60)
    asked = sum(1 for each in stage.cluster.requests if each.subresource == "eviction")
    assert 4 <= asked <= 8

    stage.cluster.on_request = None
    await stage.clock.advance(60)
    assert len(stage.evicted()) == 1


@pytest.mark.parametrize(
    "unfit",
    [
        {"priority": 1},
        {"owned": False},
        {"nodeSelector": {"name": "gpu-7"}},
        {"topologySpreadConstraints": [{"whenUnsatisfiable": "DoNotSchedule"}]},
    ],
    ids=["a higher priority", "no controller", "no other node", "rules between pods"],
)
async def test_some_pods_are_never_moved(stage: "Stage", unfit: dict[str, Any]) -> None:
    await stage.pool(reclaim={"moves": "Evict"})
    await halved(stage, **unfit)

    await stage.waits(amounts(60, 20))
    await stage.clock.advance(30)

    assert stage.evicted(real=False) == []
