"""Where a request goes, and the words when it goes nowhere."""

import pytest

import builders as make
from vgpu import inventory, values
from vgpu.placement import choice, explain, policies
from vgpu.placement.policies import bin_pack, spread


def rooms(*nodes: values.Node) -> list[inventory.NodeRoom]:
    return [inventory.room(make.pool(), node) for node in nodes]


def two_gpu_node(name: str, used_on_second: int = 0) -> values.Node:
    devices = [make.device(f"{name}-0"), make.device(f"{name}-1")]
    busy = make.slice_(
        f"busy-{name}", uuids=(f"{name}-1",), requests=make.amounts(used_on_second, used_on_second)
    )
    return make.node(name, devices=devices, slices=[busy] if used_on_second else [])


def test_bin_pack_fills_the_fullest_device_of_the_fullest_node_that_fits() -> None:
    placed = choice.place(make.request(), rooms(two_gpu_node("a"), two_gpu_node("b", 30)), bin_pack.BinPack())

    assert placed == choice.Placement(node="b", device_uuids=("b-1",))


def test_spread_takes_the_emptiest_device_of_the_emptiest_node() -> None:
    placed = choice.place(make.request(), rooms(two_gpu_node("a", 30), two_gpu_node("b")), spread.Spread())

    assert placed == choice.Placement(node="b", device_uuids=("b-0",))


def test_a_tie_goes_to_the_smallest_node_name() -> None:
    placed = choice.place(make.request(), rooms(make.node("b"), make.node("a")), bin_pack.BinPack())

    assert isinstance(placed, choice.Placement)
    assert placed.node == "a"


def test_a_pod_with_two_gpus_gets_two_devices_of_one_node() -> None:
    placed = choice.place(
        make.request(device_count=2), rooms(make.node("a"), two_gpu_node("b")), bin_pack.BinPack()
    )

    assert placed == choice.Placement(node="b", device_uuids=("b-0", "b-1"))


@pytest.mark.parametrize(
    ("node", "asked", "reason"),
    [
        (make.node(), make.request(requests=make.amounts(90, 10)), "no GPU with 90 GiB memory free"),
        (
            make.node(slices=[make.slice_(requests=make.amounts(1, 90))]),
            make.request(requests=make.amounts(16, 25)),
            "no GPU with 25 % compute free",
        ),
        (
            two_gpu_node("a", 79),
            make.request(requests=make.amounts(81, 101)),
            "no GPU with 81 GiB/101 % free",
        ),
        (make.node(), make.request(device_count=2), "fewer than 2 usable GPUs"),
        (
            two_gpu_node("a", 79),
            make.request(device_count=2),
            "fewer than 2 GPUs with 16 GiB/25 % free",
        ),
        (make.node(cordoned=["GPU-node-0"]), make.request(), "all GPUs cordoned"),
        (make.node(devices=[make.device(healthy=False)]), make.request(), "all GPUs unhealthy"),
        (
            make.node(devices=[make.device(healthy=False), make.device("GPU-1")], cordoned=["GPU-1"]),
            make.request(),
            "all GPUs cordoned or unhealthy",
        ),
        (make.node(labels={"gpu": "t4"}), make.request(), "not in the pool"),
    ],
)
def test_each_node_says_what_it_lacks(node: values.Node, asked: values.Request, reason: str) -> None:
    found = choice.place(asked, rooms(node), bin_pack.BinPack())

    assert found == choice.NoFit(reasons={node.name: reason})


def test_equal_reasons_are_told_once_with_their_number_of_nodes() -> None:
    reasons = {"a": "full", "b": "full", "c": "not in the pool"}

    assert explain.summary(reasons) == "2 nodes: full; 1 node: not in the pool"


def test_every_strategy_of_the_api_has_a_policy() -> None:
    assert all(policies.of(strategy) for strategy in values.Strategy)
