"""The fast ways answer like the plain ones: the board like a reading of all rooms, C like Python."""

from dataclasses import replace
from pathlib import Path

import _cffi_backend
from hypothesis import given, settings
from hypothesis import strategies as st

import builders as make
from vgpu import inventory, values
from vgpu.placement import board, choice, fragmentation, grid, kernel, mix, policy
from vgpu.placement.policies import best_fit, bin_pack, fgd, gpu_packing, least_fragmentation, spread

MODELS = ("A100", "T4")
WHOLE = {"A100": make.amounts(80, 100), "T4": make.amounts(16, 100)}

amounts = st.builds(
    make.amounts, st.sampled_from([0, 4, 8, 15, 16, 40, 79, 80]), st.sampled_from([0, 10, 25, 33, 50, 100])
)
shapes = st.builds(
    mix.Shape,
    requests=amounts,
    device_count=st.sampled_from([0, 1, 1, 1, 2, 4]),
    pod_cpu_milli=st.sampled_from([0, 500, 4000]),
    models=st.sampled_from([frozenset[str](), frozenset({"T4"}), frozenset({"A100"}), frozenset(MODELS)]),
)
mixes = st.dictionaries(shapes, st.integers(1, 50), min_size=1, max_size=8).map(
    lambda found: mix.typical({shape: float(weight) for shape, weight in found.items()}, covered=1.0)
)


@st.composite
def devices(draw: st.DrawFn, uuid: str) -> inventory.DeviceRoom:
    model = draw(st.sampled_from(MODELS))
    capacity = WHOLE[model]
    free = draw(st.just(capacity) | amounts).at_most(capacity)
    return inventory.DeviceRoom(uuid=uuid, capacity=capacity, free=free, model=model)


@st.composite
def rooms(draw: st.DrawFn, node: str = "node") -> inventory.NodeRoom:
    return inventory.NodeRoom(
        node=node,
        devices=tuple(draw(devices(f"{node}-{index}")) for index in range(draw(st.integers(0, 4)))),
        unusable=draw(st.integers(0, 1)),
        cpu_milli=draw(st.none() | st.sampled_from([0, 1000, 8000, 64000])),
        memory_bytes=draw(st.none() | st.sampled_from([values.GIB, 64 * values.GIB])),
    )


def request(shape: mix.Shape, *, memory_bytes: int = 0) -> values.Request:
    return values.Request(
        slice_id="slice",
        pool_name="pool",
        claim=make.claim_ref(),
        pod=values.PodRef(name="pod", uid="pod", cpu_milli=shape.pod_cpu_milli, memory_bytes=memory_bytes),
        device_count=shape.device_count,
        requests=shape.requests,
        limits=shape.requests,
        models=shape.models,
    )


requests = st.builds(
    lambda shape, gib: request(shape, memory_bytes=gib * values.GIB), shapes, st.sampled_from([0, 2])
)


NAMES = ("a", "b", "c", "d", "e")

policies = st.one_of(
    st.sampled_from([bin_pack.BinPack(), spread.Spread(), best_fit.BestFit(), gpu_packing.GpuPacking()]),
    mixes.map(lambda typical: fgd.Fgd(typical=typical)),
    mixes.map(
        lambda typical: least_fragmentation.LeastFragmentation(
            typical=typical, supply=WHOLE, sequences=3, shortlist=2, library=None
        )
    ),
)
changes = st.lists(
    st.sampled_from(NAMES).flatmap(lambda name: st.tuples(st.just(name), st.none() | rooms(name))),
    max_size=12,
)


@settings(max_examples=100, deadline=None)
@given(
    chooser=policies,
    in_c=st.booleans(),
    steps=st.lists(st.tuples(changes, requests, st.none() | st.sets(st.sampled_from(NAMES)))),
)
def test_a_board_places_like_the_plain_reading(
    library: Path,
    in_c: bool,
    chooser: policy.Policy,
    steps: list[tuple[list[tuple[str, inventory.NodeRoom | None]], values.Request, set[str] | None]],
) -> None:
    rooms: dict[str, inventory.NodeRoom] = {}
    if in_c and isinstance(chooser, least_fragmentation.LeastFragmentation):
        fast = board.Board(replace(chooser, library=library))
    else:
        fast = board.Board(chooser)
    for changed, request, offered in steps:
        for name, room in changed:
            _see(fast, rooms, name, room)

        known = [room for name, room in rooms.items() if offered is None or name in offered]
        unknown = dict.fromkeys((offered or set()) - rooms.keys(), "its agent has reported no GPUs")
        expected = choice.place(request, known, chooser)

        if isinstance(expected, choice.NoFit):
            expected = choice.NoFit(reasons={**expected.reasons, **unknown})
        assert fast.place(request, offered) == expected


@settings(deadline=None)
@given(first=policies, second=policies, seen=st.lists(rooms(), max_size=4), asked=requests)
def test_a_board_that_follows_another_policy_places_like_it(
    first: policy.Policy, second: policy.Policy, seen: list[inventory.NodeRoom], asked: values.Request
) -> None:
    known = [replace(room, node=name) for room, name in zip(seen, NAMES, strict=False)]
    fast = board.Board(first)
    for room in known:
        fast.see(room)
    fast.place(asked)

    fast.follow(second)

    assert fast.place(asked) == choice.place(asked, known, second)


def test_sizes_and_states_beyond_what_is_remembered_are_worked_out_again() -> None:
    fast = board.Board(bin_pack.BinPack())
    device = inventory.DeviceRoom(uuid="0", capacity=WHOLE["A100"], free=WHOLE["A100"])
    fast.see(inventory.NodeRoom(node="a", devices=(device,)))

    sizes = [
        mix.Shape(requests=values.Amounts(memory_bytes=size, compute_percent=1))
        for size in range(board.REMEMBERED_SIZES + 5)
    ]

    assert all(
        fast.place(request(size)) == choice.Placement(node="a", device_uuids=("0",))
        for size in (*sizes, sizes[0])
    )


def _see(
    fast: board.Board, rooms: dict[str, inventory.NodeRoom], name: str, room: inventory.NodeRoom | None
) -> None:
    if room is None:
        rooms.pop(name, None)
        fast.forget(name)
    else:
        rooms[name] = room
        fast.see(room)


@given(typical=mixes, where=rooms(), seed=st.integers(0, 3))
def test_c_and_python_measure_alike(
    library: Path, typical: mix.Mix, where: inventory.NodeRoom, seed: int
) -> None:
    state = fragmentation.state(where)
    stranded = fragmentation.Stranded(typical, bulk=0.5, library=library)
    in_c = fragmentation.Unpacked(typical, sequences=4, length=30, seed=seed, library=library)
    in_python = fragmentation.Unpacked(typical, sequences=4, length=30, seed=seed)

    assert stranded.of(state) == fragmentation.Stranded(typical, bulk=0.5).of(state)
    assert in_c.of(state) == in_python.of(state)


@settings(deadline=None)
@given(typical=mixes, seen=st.lists(rooms(), min_size=1, max_size=5), asked=requests)
def test_c_and_python_choose_alike(
    library: Path, typical: mix.Mix, seen: list[inventory.NodeRoom], asked: values.Request
) -> None:
    plain = least_fragmentation.LeastFragmentation(typical=typical, supply=WHOLE, sequences=3, library=None)
    where = grid.Grid()
    fast = replace(plain, library=library).batch(where)
    assert fast is not None

    for room in seen:  # in one slot, so that what is kept of the room before must not be used
        where.see(7, room)
        fitting = choice.fitting(room, asked)
        if not where.kinds or choice.lack(room, asked) is not None:
            continue
        found, expected = fast.choose(7, asked), plain.choose(room, fitting, asked)

        assert found is not None
        assert found.score == expected.score
        assert tuple(room.devices[at].uuid for at in found.positions) == expected.device_uuids


def test_a_library_of_another_version_is_not_called(library: Path, tmp_path: Path) -> None:
    assert kernel.built(library) == library
    assert kernel.built(Path(_cffi_backend.__file__)) is None
    assert kernel.built(tmp_path / "none.so") is None


@given(typical=mixes, where=rooms())
def test_nothing_is_lost_that_is_not_free(typical: mix.Mix, where: inventory.NodeRoom) -> None:
    state = fragmentation.state(where)
    free = sum(card.worth for card in state.cards)

    assert 0 <= fragmentation.Unpacked(typical, sequences=4).of(state) <= free
    assert -1e-6 * free <= fragmentation.Stranded(typical).of(state) <= free * (1 + 1e-6)
