"""Promises are found by slice, node, age and by who draws on which pool."""

from hypothesis import given
from hypothesis import strategies as st

import builders as make
from vgpu import inventory, promises, values


def promise(
    id_: str, node: str = "a", *, until: float = 30.0, namespace: str = "team-a"
) -> inventory.Promise:
    claim = values.ClaimRef(namespace=namespace, name="llm", uid="llm")
    return inventory.Promise(
        request=make.request(id_, requests=make.amounts(8, 10), claim=claim),
        node=node,
        device_uuids=("GPU-0", "GPU-1"),
        expires_at=until,
    )


def test_a_promise_counts_for_its_namespace_on_all_its_devices_until_it_is_taken_back() -> None:
    kept = promises.Promises()
    kept.add(promise("x"))
    kept.add(promise("y", namespace="team-b"))
    kept.pop("y")

    assert kept.totals("a100") == {"team-a": make.amounts(16, 20)}
    assert kept.totals("h100") == {}
    assert kept.pop("y") is None


def test_promises_end_in_the_order_of_their_age() -> None:
    kept = promises.Promises()
    for number in range(4):
        kept.add(promise(f"pod-{number}", until=float(number)))

    ended = [kept.pop(slice_id) and slice_id for slice_id in kept.due(2.0)]

    assert ended == ["pod-0", "pod-1", "pod-2"]
    assert list(kept.by_slice) == ["pod-3"]


steps = st.lists(st.tuples(st.sampled_from("uvwxyz"), st.sampled_from("ab"), st.booleans()), max_size=30)


@given(steps)
def test_all_ways_to_look_at_promises_agree(taken: list[tuple[str, str, bool]]) -> None:
    kept = promises.Promises()
    for id_, node, stays in taken:
        kept.pop(id_)
        if stays:
            kept.add(promise(id_, node))

    everything = list(kept.by_slice.values())

    assert [each for node in "ab" for each in everything if each.node == node] == [
        *kept.on("a"),
        *kept.on("b"),
    ]
    assert kept.totals("a100").get("team-a", values.NOTHING) == sum(
        (each.total for each in everything), values.NOTHING
    )
