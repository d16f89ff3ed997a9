"""Which GPUs belong together: the search finds what trying all sets finds."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import builders as make
from vgpu import inventory, values
from vgpu.placement import choice, links
from vgpu.placement.policies import bin_pack, spread

NVLINK, BRIDGE = values.LinkKind.NVLINK, values.LinkKind.HOST_BRIDGE
WHOLE = make.amounts(80, 100)
Way = tuple[int, int, values.LinkKind, int]


def devices(
    count: int, *ways: Way, numa: tuple[int | None, ...] = (), free: tuple[int, ...] = ()
) -> tuple[inventory.DeviceRoom, ...]:
    """GPUs ``0``, ``1``, …; a way is (from, to, kind, lanes) and holds in both directions."""
    both = [*ways, *((to, at, kind, lanes) for at, to, kind, lanes in ways)]
    return tuple(
        inventory.DeviceRoom(
            uuid=str(at),
            capacity=WHOLE,
            free=make.amounts(80, free[at] if free else 100),
            numa_node=numa[at] if numa else None,
            links=tuple(
                values.Link(uuid=str(to), kind=kind, lanes=lanes)
                for start, to, kind, lanes in both
                if start == at
            ),
        )
        for at in range(count)
    )


def clique(*members: int, lanes: int = 1) -> list[Way]:
    return [(at, to, NVLINK, lanes) for at, to in itertools.combinations(members, 2)]


def nearest(found: tuple[inventory.DeviceRoom, ...], count: int) -> list[str]:
    return [device.uuid for device in links.nearest(found, count)]


def test_gpus_that_nvlink_joins_go_before_those_of_one_numa_node() -> None:
    found = devices(4, (0, 3, NVLINK, 4), numa=(0, 0, 1, 1))

    assert nearest(found, 2) == ["0", "3"]


def test_more_lanes_go_before_fewer() -> None:
    assert nearest(devices(4, (0, 1, NVLINK, 1), (2, 3, NVLINK, 2)), 2) == ["2", "3"]


def test_three_joined_gpus_go_before_a_pair_with_many_lanes() -> None:
    assert nearest(devices(5, (0, 1, NVLINK, 12), *clique(2, 3, 4)), 3) == ["2", "3", "4"]


def test_a_nearer_bus_goes_before_one_numa_node_and_that_before_the_machine() -> None:
    found = devices(5, (3, 4, BRIDGE, 0), numa=(0, 1, 1, 2, 2))

    assert nearest(found, 2) == ["3", "4"]
    assert nearest(found[:4], 2) == ["1", "2"]


def test_of_equally_near_sets_the_earlier_devices_are_taken() -> None:
    assert nearest(devices(8, *clique(0, 2, 5), *clique(1, 3, 4)), 3) == ["0", "2", "5"]


def test_what_only_one_side_reports_counts() -> None:
    silent = devices(1)[0]
    told = inventory.DeviceRoom(
        uuid="1", capacity=WHOLE, free=WHOLE, links=(values.Link(uuid="0", kind=NVLINK, lanes=2),)
    )

    assert links.total([silent, told]) == links.total([told, silent]) > 0


@pytest.mark.parametrize("found", [devices(4), devices(4, numa=(0, 0, 0, 0)), devices(3, *clique(0, 1, 2))])
def test_gpus_that_are_all_equally_near_leave_the_choice_to_the_policy(
    found: tuple[inventory.DeviceRoom, ...],
) -> None:
    assert links.alike(found)
    assert choice.linked(
        inventory.NodeRoom(node="a", devices=found), make.request(device_count=2), _PACK
    ) is (None)


def test_links_decide_first_and_the_policy_decides_what_they_leave_open() -> None:
    found = devices(6, *clique(0, 1), *clique(2, 3), *clique(4, 5), free=(100, 100, 50, 100, 90, 100))
    room = inventory.NodeRoom(node="a", devices=found)
    asked = make.request(device_count=2)

    packed = choice.place(asked, [room], _PACK)
    spreaded = choice.place(asked, [room], spread.Spread())

    assert packed == choice.Placement(node="a", device_uuids=("2", "3"))
    assert spreaded == choice.Placement(node="a", device_uuids=("0", "1"))


ways = st.lists(
    st.tuples(
        st.integers(0, 15), st.integers(0, 15), st.sampled_from(values.LinkKind), st.integers(0, 3)
    ).filter(lambda way: way[0] != way[1]),
    max_size=60,
)


@settings(max_examples=40, deadline=None)
@given(
    ways=ways,
    numa=st.lists(st.sampled_from([None, 0, 1]), min_size=16, max_size=16),
    size=st.integers(1, 16),
    count=st.integers(1, 8),
)
def test_the_search_finds_what_trying_all_sets_finds(
    ways: list[Way], numa: list[int | None], size: int, count: int
) -> None:
    known = [way for way in ways if way[0] < size and way[1] < size]
    found = devices(size, *known, numa=tuple(numa))
    pairs = links.nearness(found)

    def worth(chosen: tuple[int, ...]) -> int:
        return sum(pairs[at][to] for at, to in itertools.combinations(chosen, 2))

    count = min(count, size)
    best = max(itertools.combinations(range(size), count), key=worth)  # the first of equals

    assert nearest(found, count) == [str(at) for at in best]


def test_beyond_its_steps_the_search_still_answers() -> None:
    numa = tuple(at % 7 for at in range(64))
    found = devices(64, *((at, (7 * at + 3) % 64, NVLINK, at % 3) for at in range(64)), numa=numa)

    assert len(set(nearest(found, 24))) == 24


_PACK = bin_pack.BinPack()
