"""Each policy's choice on a node, by the published definitions."""

import random

import pytest

import builders as make
from vgpu import inventory, values
from vgpu.placement import choice, mix, policies, policy, scarcity
from vgpu.placement.policies import (
    best_fit,
    bin_pack,
    dot_prod,
    fgd,
    gpu_clustering,
    gpu_packing,
    least_fragmentation,
    random_fit,
    spread,
)

WHOLE = make.amounts(0, 100)
CPU_OF_LARGEST = 128_000


def room(
    *free: int,
    cpu: int = CPU_OF_LARGEST,
    model: str = "A100",
    sizes: tuple[int, ...] = (),
    node: str = "node",
) -> inventory.NodeRoom:
    devices = (
        inventory.DeviceRoom(uuid=str(at), capacity=WHOLE, free=make.amounts(0, percent), model=model)
        for at, percent in enumerate(free)
    )
    return inventory.NodeRoom(node=node, devices=tuple(devices), cpu_milli=cpu, pod_sizes=frozenset(sizes))


def request(percent: int, *, count: int = 1, cpu: int = 0, models: tuple[str, ...] = ()) -> values.Request:
    asked = make.amounts(0, percent)
    return values.Request(
        slice_id="pod",
        pool_name="a100",
        claim=make.claim_ref(),
        pod=values.PodRef(name="pod", uid="pod", cpu_milli=cpu),
        device_count=count,
        requests=asked,
        limits=asked,
        models=frozenset(models),
    )


def chosen(chooser: policy.Policy, where: inventory.NodeRoom, asked: values.Request) -> policy.Choice:
    return chooser.choose(where, choice.fitting(where, asked), asked)


def shape(percent: int, count: int = 1, models: tuple[str, ...] = ()) -> mix.Shape:
    return mix.Shape(requests=make.amounts(0, percent), device_count=count, models=frozenset(models))


HALVES = mix.Mix(popularity={shape(50): 1.0})
TIGHTEST = [
    best_fit.BestFit(),
    bin_pack.BinPack(),
    dot_prod.DotProd(),
    gpu_packing.GpuPacking(),
    gpu_clustering.GpuClustering(),
]


@pytest.mark.parametrize("chooser", TIGHTEST)
def test_a_slice_goes_to_the_gpu_with_the_least_free_that_fits_the_first_on_ties(
    chooser: policy.Policy,
) -> None:
    assert chosen(chooser, room(100, 30, 60, 60), request(40)).device_uuids == ("2",)


@pytest.mark.parametrize("chooser", TIGHTEST)
def test_whole_gpus_are_the_first_idle_ones(chooser: policy.Policy) -> None:
    assert chosen(chooser, room(60, 100, 100, 100), request(100, count=2)).device_uuids == ("1", "2")


@pytest.mark.parametrize("chooser", [*TIGHTEST, spread.Spread(), fgd.Fgd(typical=HALVES)])
def test_a_pod_without_gpu_takes_no_device(chooser: policy.Policy) -> None:
    assert chosen(chooser, room(60, 100), request(0, count=0, cpu=1000)).device_uuids == ()


def test_best_fit_scores_what_is_left_in_parts_of_the_largest_node() -> None:
    found = chosen(best_fit.BestFit(), room(100, 100, 100, 100), request(100, cpu=64_000))

    assert found.score == -int(100 * (1 - 0.5 * 0.5 - 0.5 * 3 / 8))


def test_dot_prod_scores_the_product_of_free_and_asked() -> None:
    found = chosen(dot_prod.DotProd(), room(*[100] * 8), request(100, count=8, cpu=64_000))

    assert found.score == -int(100 * (1 - 0.5 * (0.5 + 1.0)))


@pytest.mark.parametrize(
    ("where", "asked", "points"),
    [
        (room(100, 100), request(50), 31),
        (room(100, 50), request(50), 95),
        (room(100, 50), request(100), 49),
        (room(100, 100, 100, 50), request(100, count=3), 47),
        (room(100, 50), request(0, count=0), 0),
    ],
)
def test_gpu_packing_prefers_gpus_in_use_then_nodes_in_use(
    where: inventory.NodeRoom, asked: values.Request, points: int
) -> None:
    assert chosen(gpu_packing.GpuPacking(), where, asked).score == -points


@pytest.mark.parametrize(("sizes", "kinship"), [((0,), 75), ((0, 1), 50), ((), 25), ((1,), 0)])
def test_gpu_clustering_prefers_nodes_with_pods_of_the_same_size(
    sizes: tuple[int, ...], kinship: int
) -> None:
    found = chosen(gpu_clustering.GpuClustering(), room(100, 100, sizes=sizes), request(50))

    assert found.score == -(kinship + 25 * 6000 // 8000)


def test_fgd_takes_the_gpu_that_strands_least_and_floors_the_score() -> None:
    found = chosen(fgd.Fgd(typical=HALVES), room(100, 40), request(20))

    assert found == policy.Choice(device_uuids=("1",), score=-54)


def test_fgd_takes_the_first_gpu_on_ties() -> None:
    assert chosen(fgd.Fgd(typical=HALVES), room(100, 70), request(20)).device_uuids == ("0",)


def test_fgd_gives_equal_scores_to_small_differences() -> None:
    fewest, more = (chosen(fgd.Fgd(typical=HALVES), room(free), request(50)) for free in (80, 81))

    assert fewest.score == more.score == -42


def test_least_fragmentation_leaves_room_that_is_asked_for() -> None:
    least = least_fragmentation.LeastFragmentation(typical=HALVES)

    assert chosen(least, room(100, 70), request(20)).device_uuids == ("1",)
    assert chosen(least, room(60, 100, 50), request(50)).device_uuids == ("2",)


def test_least_fragmentation_keeps_sought_models_for_those_that_need_them() -> None:
    typical = mix.Mix(popularity={shape(50): 0.5, shape(50, models=("T4",)): 0.5})
    supply = {"A100": WHOLE, "T4": WHOLE}
    least = least_fragmentation.LeastFragmentation(typical=typical, supply=supply)
    rooms = [room(100, model="T4", node="a"), room(100, model="A100", node="b")]

    anywhere, bound = request(50), request(50, models=("T4",))

    assert choice.place(anywhere, rooms, least) == choice.Placement(node="b", device_uuids=("0",))
    assert choice.place(bound, rooms, least) == choice.Placement(node="a", device_uuids=("0",))


def test_a_bound_is_never_above_the_score() -> None:
    least = least_fragmentation.LeastFragmentation(typical=mix.PRIOR)
    where = room(100, 70, 40, 10)

    for percent in (10, 40, 55, 100):
        asked = request(percent)
        assert least.bound(where, choice.fitting(where, asked), asked) <= chosen(least, where, asked).score


def test_the_price_of_a_model_is_the_part_of_it_that_bound_requests_want() -> None:
    typical = mix.Mix(popularity={shape(100): 0.75, shape(100, models=("T4",)): 0.25})

    found = scarcity.prices(typical, {"A100": WHOLE, "T4": WHOLE})

    assert found == {"A100": 0.0, "T4": pytest.approx(0.5)}


def test_supply_adds_up_the_devices_of_each_model() -> None:
    found = scarcity.supply([room(10, 20), room(5, model="T4")])

    assert found == {"A100": WHOLE.times(2), "T4": WHOLE}


def test_random_draws_nodes_and_devices_alike() -> None:
    chooser = random_fit.RandomFit(draw=random.Random(1))
    rooms = [room(100, 100, node="a"), room(100, 100, node="b")]

    places = {choice.place(request(10), rooms, chooser) for _ in range(100)}

    assert len(places) == 4


def test_one_usual_policy_is_shared_and_a_mix_makes_another() -> None:
    least = values.Strategy.LEAST_FRAGMENTATION

    assert policies.of(least) is policies.of(least)
    assert policies.of(least, mix=HALVES) is not policies.of(least)
