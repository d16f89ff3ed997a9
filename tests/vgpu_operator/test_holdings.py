"""Which slices each claim holds, and the count of claims by pool."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

import builders as make
from vgpu_operator.census import Census, Standing
from vgpu_operator.holdings import Holdings

CLAIM = make.claim_ref()


def test_a_claims_slices_are_found_with_their_node_and_report() -> None:
    holdings = Holdings()
    report = make.enforced(16, revision=1)
    node = make.node(slices=[make.slice_("pod-0")], enforced={"pod-0": report})

    touched = holdings.see(None, node)

    (holding,) = holdings.of(CLAIM.uid)
    assert touched == {CLAIM}
    assert (holding.node, holding.enforced, holding.confirmed) == ("node-0", report, True)
    assert holdings.in_pool("a100") == 1


def test_only_claims_whose_slices_or_reports_changed_are_touched() -> None:
    holdings = Holdings()
    other = make.claim_ref("other")
    before = make.node(slices=[make.slice_("a"), make.slice_("b", claim=other)])
    holdings.see(None, before)

    touched = holdings.see(before, replace(before, enforced={"b": make.enforced(16, revision=1)}))

    assert touched == {other}


def test_a_node_that_goes_takes_its_slices_along() -> None:
    holdings = Holdings()
    node = make.node(slices=[make.slice_()])
    holdings.see(None, node)

    touched = holdings.see(node, None)

    assert touched == {CLAIM}
    assert holdings.of(CLAIM.uid) == ()
    assert holdings.in_pool("a100") == 0


def test_a_slice_that_moved_stays_when_the_old_node_is_heard_of_last() -> None:
    holdings = Holdings()
    before = make.node("node-0", slices=[make.slice_()])
    holdings.see(None, before)
    holdings.see(None, make.node("node-1", slices=[make.slice_()]))

    holdings.see(before, make.node("node-0"))

    assert [holding.node for holding in holdings.of(CLAIM.uid)] == ["node-1"]


standings = st.none() | st.builds(
    Standing, pool=st.sampled_from(["a", "b"]), bound=st.booleans(), pending=st.booleans()
)


@given(steps=st.lists(st.tuples(st.sampled_from("xyz"), standings)))
def test_the_count_is_always_that_of_the_latest_standings(
    steps: list[tuple[str, Standing | None]],
) -> None:
    census = Census()
    latest: dict[str, Standing | None] = {}
    for claim, standing in steps:
        census.put(("team", claim), standing)
        latest[claim] = standing

    there = [standing for standing in latest.values() if standing is not None]
    for pool in "ab":
        assert census.bound(pool) == sum(each.bound for each in there if each.pool == pool)
        assert census.pending(pool) == sum(each.pending for each in there if each.pool == pool)


def test_a_claim_that_changes_its_pool_concerns_both() -> None:
    census = Census()
    census.put(("team", "x"), Standing(pool="a", bound=True, pending=False))

    assert census.put(("team", "x"), Standing(pool="b", bound=True, pending=False)) == {"a", "b"}
    assert census.put(("team", "x"), Standing(pool="b", bound=True, pending=False)) == set()
