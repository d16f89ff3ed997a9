"""What a node's devices can promise and what is free."""

from dataclasses import replace

import pytest

import builders as make
from vgpu import inventory, values


def test_a_device_promises_its_memory_after_the_reserve_times_the_overcommit() -> None:
    pool = make.pool(reserved_gib=0.5, memory_overcommit=150, compute_overcommit=200)

    promised = inventory.capacity(pool, make.device(gib=80))

    assert promised == make.amounts(119.25, 200)


def test_room_is_what_slices_and_promises_leave() -> None:
    node = make.node(slices=[make.slice_("a", requests=make.amounts(16, 25))])
    promise = inventory.Promise(
        request=make.request("b", requests=make.amounts(4, 10)),
        node=node.name,
        device_uuids=("GPU-node-0",),
        expires_at=1.0,
    )

    room = inventory.room(make.pool(), node, [promise])

    assert room.devices[0].free == make.amounts(60, 65)


def test_a_promise_that_the_ledger_has_fulfilled_counts_once() -> None:
    node = make.node(slices=[make.slice_("a", requests=make.amounts(16, 25))])
    promise = inventory.Promise(
        request=make.request("a"), node=node.name, device_uuids=("GPU-node-0",), expires_at=1.0
    )

    room = inventory.room(make.pool(), node, [promise])

    assert room.devices[0].free == make.amounts(64, 75)


def pod(name: str, *, cpu: int, gib: int) -> values.PodRef:
    return values.PodRef(name=name, uid=name, cpu_milli=cpu, memory_bytes=gib * make.GIB)


def test_cpu_and_memory_are_what_the_pods_of_slices_and_promises_leave() -> None:
    held = replace(make.slice_("a"), pods=(pod("a", cpu=500, gib=2), pod("joined", cpu=250, gib=1)))
    node = replace(make.node(slices=[held]), cpu_milli=8000, memory_bytes=64 * make.GIB)
    promises = [
        inventory.Promise(
            request=replace(make.request(name), pod=pod(name, cpu=1000, gib=4)),
            node=node.name,
            device_uuids=("GPU-node-0",),
            expires_at=1.0,
        )
        for name in ("a", "b")
    ]

    room = inventory.room(make.pool(), node, promises)

    assert (room.cpu_milli, room.memory_bytes) == (6250, 57 * make.GIB)


def test_cpu_and_memory_that_nobody_has_told_are_not_known() -> None:
    room = inventory.room(make.pool(), make.node(slices=[make.slice_("a")]))

    assert (room.cpu_milli, room.memory_bytes) == (None, None)


def test_a_shrunk_slice_counts_its_held_memory_until_the_node_confirms_the_revision() -> None:
    shrunk = make.slice_(allocated=make.amounts(16, 25), held_gib=24, revision=7)
    stale = make.enforced(16, revision=6)

    assert inventory.charged(shrunk, None).memory_bytes == 24 * make.GIB
    assert inventory.charged(shrunk, stale).memory_bytes == 24 * make.GIB


def test_a_confirmed_shrink_counts_what_is_really_in_force() -> None:
    shrunk = make.slice_(allocated=make.amounts(16, 25), held_gib=24, revision=7)

    assert inventory.charged(shrunk, make.enforced(20, revision=7)).memory_bytes == 20 * make.GIB
    assert inventory.charged(shrunk, make.enforced(10, revision=8)).memory_bytes == 16 * make.GIB


@pytest.mark.parametrize("broken", [make.device("GPU-1", healthy=False), make.device("GPU-cordoned")])
def test_cordoned_and_unhealthy_devices_take_nothing_new(broken: values.Device) -> None:
    node = make.node(devices=[make.device("GPU-0"), broken], cordoned=["GPU-cordoned"])

    room = inventory.room(make.pool(), node)

    assert [device.uuid for device in room.devices] == ["GPU-0"]
    assert room.unusable == 1


def test_a_pool_takes_only_the_models_its_patterns_name() -> None:
    node = make.node(devices=[make.device("GPU-0", model="NVIDIA-A100-80"), make.device("GPU-1", model="T4")])

    members = inventory.members(make.pool(models=("NVIDIA-A100*",)), node)

    assert [device.uuid for device in members] == ["GPU-0"]


def test_a_node_outside_the_selector_has_no_members() -> None:
    assert inventory.members(make.pool(), make.node(labels={"gpu": "t4"})) == ()


@pytest.mark.parametrize(
    ("operator", "wanted", "labels", "selected"),
    [
        (values.Operator.IN, ("a", "b"), {"k": "b"}, True),
        (values.Operator.IN, ("a",), {}, False),
        (values.Operator.NOT_IN, ("a",), {}, True),
        (values.Operator.NOT_IN, ("a",), {"k": "a"}, False),
        (values.Operator.EXISTS, (), {"k": ""}, True),
        (values.Operator.DOES_NOT_EXIST, (), {"k": ""}, False),
    ],
)
def test_expressions_select_as_in_kubernetes(
    operator: values.Operator, wanted: tuple[str, ...], labels: dict[str, str], selected: bool
) -> None:
    selector = values.Selector(expressions=(values.Expression(key="k", operator=operator, values=wanted),))

    assert inventory.selects(selector, labels.items()) is selected


def test_a_pool_counts_the_capacity_of_healthy_devices_on_all_its_nodes() -> None:
    nodes = [make.node("a"), make.node("b", devices=[make.device("GPU-b", healthy=False)]), make.node("c")]

    assert inventory.total_capacity(make.pool(), nodes) == make.amounts(160, 200)


def test_a_reserve_larger_than_the_device_leaves_nothing_rather_than_less() -> None:
    pool = replace(make.pool(), reserved_memory_bytes=100 * make.GIB)

    assert inventory.capacity(pool, make.device(gib=80)).memory_bytes == 0
