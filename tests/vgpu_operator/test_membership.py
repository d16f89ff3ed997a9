"""Which devices belong to which pools, as nodes and pools come, change and go."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

import builders as make
from vgpu import inventory, values
from vgpu_operator.membership import Membership, Totals


def test_the_totals_count_healthy_capacity_and_all_devices() -> None:
    devices = (make.device("a"), make.device("b", healthy=False), make.device("c", gib=40))
    membership = Membership()
    membership.see_node(make.node("node-0", devices=devices))

    membership.see_pool(make.pool())

    assert membership.totals("a100") == Totals(
        nodes=1, devices=3, capacity=make.amounts(120, 200), largest_bytes=80 * values.GIB
    )


def test_a_node_that_leaves_the_selection_leaves_the_pool() -> None:
    membership = Membership()
    membership.see_pool(make.pool())
    membership.see_node(make.node("node-0"))

    membership.see_node(make.node("node-0", labels={"gpu": "other"}))

    assert membership.totals("a100") == Totals()
    assert membership.pools_of("node-0") == frozenset()


def test_pools_overlap_by_the_devices_they_share() -> None:
    membership = Membership()
    membership.see_pool(make.pool("all"))
    membership.see_pool(make.pool("some", models=("B*",)))
    devices = (make.device("a", model="A100"), make.device("b", model="B200"))
    membership.see_node(make.node("node-0", devices=devices))

    assert membership.overlaps("all") == {"some": 1}
    assert membership.overlaps("some") == {"all": 1}


def test_pools_that_split_a_node_by_model_do_not_overlap() -> None:
    membership = Membership()
    membership.see_pool(make.pool("a", models=("A*",)))
    membership.see_pool(make.pool("b", models=("B*",)))
    devices = (make.device("a", model="A100"), make.device("b", model="B200"))
    membership.see_node(make.node("node-0", devices=devices))

    assert membership.overlaps("a") == {}


steps = st.lists(
    st.tuples(
        st.sampled_from(["node", "forget node", "pool", "forget pool"]),
        st.integers(0, 2),
        st.sampled_from(["a100", "other"]),
    ),
    max_size=20,
)


@given(steps=steps)
def test_after_any_history_the_totals_are_those_of_the_nodes_that_are_there(
    steps: list[tuple[str, int, str]],
) -> None:
    membership = Membership()
    nodes: dict[str, values.Node] = {}
    pools: dict[str, values.Pool] = {}
    for what, number, label in steps:
        name = f"{number}"
        match what:
            case "node":
                nodes[name] = make.node(name, labels={"gpu": label})
                membership.see_node(nodes[name])
            case "forget node":
                nodes.pop(name, None)
                membership.forget_node(name)
            case "pool":
                selector = values.Selector(match_labels={"gpu": label})
                pools[name] = replace(make.pool(name), node_selector=selector)
                membership.see_pool(pools[name])
            case _:
                pools.pop(name, None)
                membership.forget_pool(name)
        for pool_name in pools:
            membership.totals(pool_name)  # what is remembered now must not be believed later

    for name, pool in pools.items():
        assert membership.totals(name).capacity == inventory.total_capacity(pool, nodes.values())
        assert set(membership.parts(name)) == {
            node.name for node in nodes.values() if inventory.members(pool, node)
        }
