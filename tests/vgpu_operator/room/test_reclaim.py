"""Growth that comes back for pods that wait: whose, how much, and when not."""

from typing import TYPE_CHECKING

from vgpu_kube import errors
from vgpu_kube.objects import Object
from vgpu_kube.testing import Moment, Request

if TYPE_CHECKING:
    from tests.vgpu_operator.room.conftest import Stage


def amounts(gib: int, percent: int) -> Object:
    return {"memory": f"{gib}Gi", "computePercent": percent}


async def grown(stage: "Stage") -> None:
    """Two GPUs full of growth: a floor of 40 GiB fits neither of them as they are."""
    await stage.holds("low", "gpu-0", amounts(20, 20), amounts(60, 80), priority=-1)
    await stage.holds("high", "gpu-1", amounts(20, 20), amounts(60, 80), priority=1)


async def test_growth_of_the_lowest_priority_comes_back_for_a_pod_that_waits(stage: "Stage") -> None:
    await grown(stage)

    await stage.waits(amounts(60, 80))

    assert stage.allocated("gpu-0")["low"] == amounts(20, 20)
    assert stage.allocated("gpu-1")["high"] == amounts(60, 80)
    assert "growth" in stage.waiting()["progress"]
    assert stage.reconciler.room.waiting_for("a100") == (("team-a", "late"),)


async def test_only_what_is_lacking_comes_back(stage: "Stage") -> None:
    await stage.holds("low", "gpu-0", amounts(20, 20), amounts(40, 80))
    await stage.holds("full", "gpu-1", amounts(80, 100))

    await stage.waits(amounts(40, 50))

    assert stage.allocated("gpu-0")["low"] == amounts(40, 20)


async def test_where_an_application_holds_on_to_memory_the_next_cheapest_returns_its_own(
    stage: "Stage",
) -> None:
    await grown(stage)
    await stage.waits(amounts(60, 80))

    await stage.confirm("gpu-0", in_use="60Gi")
    await stage.clock.advance(3)

    assert stage.allocated("gpu-1")["high"] == amounts(20, 20)


async def test_while_a_node_has_not_confirmed_nothing_more_is_taken_back(stage: "Stage") -> None:
    await grown(stage)

    await stage.waits(amounts(60, 80))
    await stage.clock.advance(30)

    assert stage.allocated("gpu-1")["high"] == amounts(60, 80)


async def test_a_pool_of_fixed_slices_takes_nothing_back(stage: "Stage") -> None:
    await stage.pool(elasticity={"mode": "Fixed"})
    await grown(stage)

    await stage.waits(amounts(60, 80))

    assert stage.allocated("gpu-0")["low"] == amounts(60, 80)


async def test_an_operator_killed_at_the_write_is_followed_by_one_that_ends_it(stage: "Stage") -> None:
    def dies(request: Request, moment: Moment) -> None:
        if request.verb == "patch_json" and moment is Moment.BEFORE:
            raise errors.Unavailable(0, "Killed", "the operator dies here")

    await grown(stage)
    stage.cluster.on_request = dies
    await stage.waits(amounts(60, 80))
    assert stage.allocated("gpu-0")["low"] == amounts(60, 80)

    await stage.kill()
    stage.cluster.on_request = None
    await stage.start()
    await stage.clock.advance(3)

    assert stage.allocated("gpu-0")["low"] == amounts(20, 20)


async def test_nothing_comes_back_for_one_of_many_that_start_together(stage: "Stage") -> None:
    await grown(stage)

    await stage.gang(3, amounts(60, 80), pods=3)

    assert stage.allocated("gpu-0")["low"] == amounts(60, 80)
    assert stage.reconciler.room.waiting_for("a100") == ()
