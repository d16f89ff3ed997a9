"""What a claim demands of its devices and their company is kept, and told where it is in the way."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import builders as make
from vgpu import inventory, values
from vgpu.placement import board, choice, mix, policy
from vgpu.placement.policies import bin_pack, least_fragmentation, spread

POOL = make.pool(compute_overcommit=200, memory_overcommit=150)
IN, NOT_IN = values.Operator.IN, values.Operator.NOT_IN
OTHER = make.claim_ref("other")


def models(operator: values.Operator, *named: str) -> values.Constraints:
    return values.Constraints(devices=(values.Expression(key="model", operator=operator, values=named),))


def uuids(operator: values.Operator, *named: str) -> values.Constraints:
    return values.Constraints(devices=(values.Expression(key="uuid", operator=operator, values=named),))


EXCLUSIVE = values.Constraints(exclusive=True)
APART = values.Constraints(exclusion_group="llm")
ALIGNED = values.Constraints(numa=values.NumaAlignment.REQUIRED)


def asking(constraints: values.Constraints, count: int = 1) -> values.Request:
    return replace(make.request(device_count=count), constraints=constraints)


def four(*slices: values.Slice, numa: tuple[int | None, ...] = (0, 0, 1, 1)) -> values.Node:
    """GPUs 0 to 3, the odd ones H100."""
    found = (
        replace(make.device(str(at), model="H100" if at % 2 else "A100"), numa_node=numa[at])
        for at in range(4)
    )
    return make.node(devices=found, slices=slices)


def placed(asked: values.Request, *nodes: values.Node) -> tuple[str, ...] | str:
    """The devices chosen, or the reason."""
    rooms = [inventory.room(POOL, node) for node in nodes]
    found = choice.place(asked, rooms, bin_pack.BinPack())
    return found.device_uuids if isinstance(found, choice.Placement) else found.message


@pytest.mark.parametrize(
    ("constraints", "chosen"),
    [
        (models(IN, "H*"), ("1",)),
        (models(NOT_IN, "A100"), ("1",)),
        (uuids(IN, "3", "2"), ("2",)),
        (uuids(NOT_IN, "0", "1"), ("2",)),
    ],
)
def test_only_accepted_devices_are_chosen(constraints: values.Constraints, chosen: tuple[str, ...]) -> None:
    assert placed(asking(constraints), four()) == chosen


def test_an_exclusive_claim_takes_a_device_on_which_nobody_is() -> None:
    assert placed(asking(EXCLUSIVE), four(make.slice_(uuids=("0",), requests=make.amounts(1, 1)))) == ("1",)


def test_beside_an_exclusive_slice_is_no_room_however_much_the_pool_overcommits() -> None:
    alone = replace(make.slice_(uuids=("0", "1", "2", "3")), exclusive=True)

    assert placed(make.request("next"), four(alone)) == "1 node: no GPU with 16 GiB/25 % free"


def test_a_promise_to_an_exclusive_claim_keeps_others_off_before_the_ledger_has_it() -> None:
    promise = inventory.Promise(request=asking(EXCLUSIVE), node="node-0", device_uuids=("0",), expires_at=1)

    room = inventory.room(POOL, four(), [promise])

    assert [device.free for device in room.devices][:2] == [values.NOTHING, make.amounts(120, 200)]


def test_an_exclusive_claim_takes_the_memory_and_compute_of_one_gpu_not_what_the_pool_overcommits() -> None:
    node = make.node(devices=[make.device("0", gib=80), make.device("1", gib=40)])
    pool = replace(POOL, reserved_memory_bytes=values.GIB)

    assert inventory.taken(pool, node, asking(EXCLUSIVE), ("0",)) == make.amounts(79, 100)
    assert inventory.taken(pool, node, asking(EXCLUSIVE, 2), ("0", "1")) == make.amounts(39, 100)
    assert inventory.taken(pool, node, make.request(), ("0",)) == make.request().requests


@pytest.mark.parametrize(
    ("there", "chosen"),
    [
        (replace(make.slice_(uuids=("0",), claim=OTHER), exclusion_group="llm"), ("1",)),
        (replace(make.slice_(uuids=("0",), claim=OTHER), exclusion_group="batch"), ("0",)),
        (replace(make.slice_(uuids=("0",)), exclusion_group="llm"), ("0",)),  # of the same claim
        (
            replace(
                make.slice_(uuids=("0",), claim=make.claim_ref("other", "team-b")), exclusion_group="llm"
            ),
            ("0",),
        ),
    ],
)
def test_claims_of_one_group_and_namespace_never_share_a_device(
    there: values.Slice, chosen: tuple[str, ...]
) -> None:
    assert placed(asking(APART), four(there)) == chosen


def test_gpus_that_must_share_a_numa_node_do_and_otherwise_only_rather_do() -> None:
    busy = make.slice_(uuids=("0", "2"), requests=make.amounts(110, 10))

    assert placed(asking(ALIGNED, 2), four()) == ("0", "1")
    assert placed(asking(ALIGNED, 2), four(busy)) == (
        "1 node: fewer than 2 GPUs with 16 GiB/25 % free on one NUMA node"
    )
    assert placed(asking(values.UNCONSTRAINED, 2), four(busy)) == ("1", "3")


def test_a_gpu_of_an_unknown_numa_node_is_on_none() -> None:
    found = placed(asking(ALIGNED, 2), four(numa=(None, None, None, 1)))

    assert found == "1 node: fewer than 2 GPUs with 16 GiB/25 % free on one NUMA node"


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (asking(models(IN, "T4")), "no GPU that the claim's deviceSelector accepts"),
        (asking(models(IN, "A100"), 3), "fewer than 3 GPUs that the claim's deviceSelector accepts"),
        (asking(EXCLUSIVE, 4), "fewer than 4 GPUs without other slices, as an exclusive claim needs"),
        (asking(APART, 4), "fewer than 4 GPUs free of exclusion group llm"),
        (asking(replace(APART, devices=uuids(IN, "0").devices)), "no GPU free of exclusion group llm"),
        (asking(ALIGNED, 5), "fewer than 5 usable GPUs"),
    ],
)
def test_a_node_says_which_demand_is_in_the_way(asked: values.Request, reason: str) -> None:
    there = replace(make.slice_(uuids=("0",), claim=OTHER), exclusion_group="llm")

    assert placed(asked, four(there)) == f"1 node: {reason}"


def test_reasons_group_nodes_that_lack_the_same() -> None:
    nodes = [replace(four(), name=name) for name in ("a", "b")]

    assert placed(asking(models(IN, "T4")), *nodes) == (
        "2 nodes: no GPU that the claim's deviceSelector accepts"
    )


def test_a_silent_node_takes_nothing_new_and_says_so() -> None:
    found = choice.place(make.request(), [inventory.silent_room("a")], bin_pack.BinPack())

    assert found == choice.NoFit(reasons={"a": "its agent has not reported for 180 s"})
    assert inventory.silent_nodes({"a": 0.0, "b": 20.0, "c": None}, now=190.0) == {"a", "c"}


constraints = st.builds(
    values.Constraints,
    devices=st.sampled_from(
        [
            (),
            models(IN, "A*", "T4").devices,
            models(NOT_IN, "A100").devices,
            models(IN, "K80").devices,
            uuids(NOT_IN, "0").devices,
        ]
    ),
    exclusive=st.booleans(),
    exclusion_group=st.sampled_from([None, "llm"]),
    numa=st.sampled_from(values.NumaAlignment),
)
slices = st.builds(
    lambda at, gib, group, mine: replace(
        make.slice_(
            f"s{at}", uuids=(str(at),), requests=make.amounts(gib, 10), claim=None if mine else OTHER
        ),
        exclusion_group=group,
    ),
    st.integers(0, 3),
    st.sampled_from([1, 40, 110]),
    st.sampled_from([None, "llm"]),
    st.booleans(),
)
joined = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(1, 4)), max_size=4)


@st.composite
def nodes(draw: st.DrawFn) -> values.Node:
    numa = draw(st.lists(st.sampled_from([None, 0, 1]), min_size=4, max_size=4).map(tuple))
    there = {slice_.id: slice_ for slice_ in draw(st.lists(slices, max_size=3))}
    node = four(*there.values(), numa=numa)
    ways = draw(joined)
    small = draw(st.booleans())
    return replace(node, devices=tuple(_linked(_sized(device, small), ways) for device in node.devices))


def _sized(device: values.Device, small: bool) -> values.Device:
    return replace(device, memory_bytes=40 * values.GIB) if small and device.model == "H100" else device


def _linked(device: values.Device, ways: list[tuple[int, int, int]]) -> values.Device:
    found = (
        values.Link(uuid=str(to), kind=values.LinkKind.NVLINK, lanes=lanes)
        for at, to, lanes in ways
        if str(at) == device.uuid and at != to
    )
    return replace(device, links=tuple(found))


LEAST = least_fragmentation.LeastFragmentation(typical=mix.PRIOR, sequences=3)


@settings(max_examples=100, deadline=None)
@given(
    found=st.lists(nodes(), max_size=5),
    demands=constraints,
    count=st.integers(1, 4),
    chooser=st.sampled_from([bin_pack.BinPack(), spread.Spread(), LEAST]),
)
def test_a_board_keeps_to_demands_like_the_plain_reading(
    found: list[values.Node], demands: values.Constraints, count: int, chooser: policy.Policy
) -> None:
    fast = board.Board(chooser)
    rooms: dict[str, inventory.NodeRoom] = {}
    for at, node in enumerate(found):  # the fourth and later ones take the place of earlier ones
        room = rooms[f"n{at % 3}"] = inventory.room(POOL, replace(node, name=f"n{at % 3}"))
        fast.see(room)

        for asked in (asking(demands, count), asking(values.UNCONSTRAINED, count)):
            assert fast.place(asked) == choice.place(asked, rooms.values(), chooser)
