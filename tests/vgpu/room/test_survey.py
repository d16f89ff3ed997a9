"""A survey kept by deltas answers as one made anew, and its bounds are bounds."""

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

import builders as make
from vgpu import inventory, values
from vgpu.room import survey

POOL = make.pool()


@st.composite
def nodes(draw: st.DrawFn) -> values.Node:
    """One of three nodes with up to ten devices, each half taken by a slice that may have grown."""
    name = draw(st.sampled_from(["node-0", "node-1", "node-2"]))
    uuids = [f"GPU-{name}-{index}" for index in range(draw(st.integers(0, 10)))]
    slices = [_slice(draw, uuid) for uuid in uuids if draw(st.booleans())]
    return make.node(name, devices=[make.device(uuid) for uuid in uuids], slices=slices, revision=2)


def _slice(draw: st.DrawFn, uuid: str) -> values.Slice:
    floor = make.amounts(draw(st.integers(1, 40)), draw(st.integers(1, 50)))
    grown = floor + make.amounts(draw(st.integers(0, 40)), draw(st.integers(0, 50)))
    return make.slice_(f"on-{uuid}", uuids=(uuid,), requests=floor, allocated=grown, revision=2)


requests = st.builds(
    lambda gib, percent, count: make.request(requests=make.amounts(gib, percent), device_count=count),
    st.integers(1, 80),
    st.integers(1, 100),
    st.integers(1, 3),
)


def read(node: values.Node) -> inventory.NodeRoom:
    return inventory.room(POOL, node)


def of(*seen: values.Node) -> survey.Survey:
    made = survey.Survey(read)
    for node in seen:
        made.see(node)
    return made


def names(sights: Iterator[survey.Sight] | list[survey.Sight]) -> set[str]:
    return {sight.node.name for sight in sights}


@given(
    history=st.lists(st.one_of(nodes(), st.sampled_from(["node-0", "node-1"])), max_size=12), asked=requests
)
def test_deltas_lead_where_a_fresh_look_does(history: list[values.Node | str], asked: values.Request) -> None:
    kept, last = survey.Survey(read), dict[str, values.Node]()
    for event in history:
        if isinstance(event, str):
            kept.forget(event)
            last.pop(event, None)
        else:
            kept.see(event)
            last[event.name] = event

    fresh = of(*last.values())

    assert len(kept) == len(fresh)
    assert names(kept.roomy(asked)) == names(fresh.roomy(asked))
    assert names(kept.at_floors(asked)) == names(fresh.at_floors(asked))
    assert {(s.node.name, most) for s, most in kept.by_memory(asked)} == {
        (s.node.name, most) for s, most in fresh.by_memory(asked)
    }


@given(found=st.lists(nodes(), unique_by=lambda node: node.name), asked=requests)
def test_no_node_that_fits_is_left_out(found: list[values.Node], asked: values.Request) -> None:
    seen = of(*found)

    roomy = {node.name for node in found if survey.fits(read(node), asked)}
    returned = {node.name for node in found if survey.fits(read(survey.at_floors(node)), asked)}

    assert names(seen.roomy(asked)) == roomy
    assert returned <= names(seen.at_floors(asked))
    assert roomy <= returned


@given(found=st.lists(nodes(), unique_by=lambda node: node.name), asked=requests)
def test_the_most_memory_is_what_as_many_devices_have(
    found: list[values.Node], asked: values.Request
) -> None:
    for sight, most in of(*found).by_memory(asked):
        enough = [
            device.free.memory_bytes
            for device in sight.now.devices
            if device.free.compute_percent >= asked.requests.compute_percent
        ]
        assert sorted(enough, reverse=True)[asked.device_count - 1] == most


def test_a_node_without_devices_of_the_pool_is_not_there() -> None:
    seen = of(make.node("node-0", labels={"gpu": "other"}))

    assert len(seen) == 0
