"""Every change of a node's ledger, and what is refused."""

from dataclasses import replace

import pytest

import builders as make
from vgpu import ledger, values

POOL = make.pool()


def written(node: values.Node, change: ledger.Change | values.Refusal) -> values.Node:
    assert isinstance(change, ledger.Change), change
    return ledger.applied(node, change)


def only(node: values.Node) -> values.Slice:
    (slice_,) = node.slices.values()
    return slice_


def test_a_held_slice_starts_at_its_floor_under_the_next_revision() -> None:
    node = written(make.node(), ledger.hold(POOL, make.node(), make.request(), ("GPU-node-0",)))

    assert node.revision == 1
    assert only(node).allocated == only(node).requests == make.amounts(16, 25)
    assert only(node).revision == 1


def test_holding_twice_changes_nothing() -> None:
    node = written(make.node(), ledger.hold(POOL, make.node(), make.request(), ("GPU-node-0",)))

    again = ledger.hold(POOL, node, make.request(), ("GPU-node-0",))

    assert isinstance(again, ledger.Change)
    assert again.empty
    assert ledger.applied(node, again) is node


def test_a_second_pod_of_a_shared_claim_joins_its_slice() -> None:
    first = make.request("pod-0", slice_id="claim")
    node = written(make.node(), ledger.hold(POOL, make.node(), first, ("GPU-node-0",)))

    node = written(node, ledger.hold(POOL, node, make.request("pod-1", slice_id="claim"), ("GPU-node-0",)))

    assert [pod.uid for pod in only(node).pods] == ["pod-0", "pod-1"]


@pytest.mark.parametrize(
    ("node", "uuid"),
    [
        (make.node(slices=[make.slice_("other", requests=make.amounts(70, 10))]), "GPU-node-0"),
        (make.node(cordoned=["GPU-node-0"]), "GPU-node-0"),
        (make.node(devices=[make.device("GPU-node-0", healthy=False)]), "GPU-node-0"),
        (make.node(), "GPU-unknown"),
    ],
)
def test_a_slice_is_refused_where_a_device_cannot_take_it(node: values.Node, uuid: str) -> None:
    refusal = ledger.hold(POOL, node, make.request(), (uuid,))

    assert isinstance(refusal, values.Refusal)
    assert refusal.reason is values.Reason.NO_FIT
    assert uuid in refusal.message


def test_a_decision_on_old_facts_is_not_applied() -> None:
    change = ledger.hold(POOL, make.node(revision=3), make.request(), ("GPU-node-0",))

    assert isinstance(change, ledger.Change)
    with pytest.raises(ValueError, match="expected revision 3"):
        ledger.applied(make.node(revision=4), change)


def test_a_released_pod_leaves_a_shared_slice_to_the_others() -> None:
    node = make.node(slices=[make.slice_("claim", pods=("pod-0", "pod-1"))])

    node = written(node, ledger.release(node, ["pod-0"]))

    assert [pod.uid for pod in only(node).pods] == ["pod-1"]


def test_the_last_pod_takes_its_slice_with_it() -> None:
    node = make.node(slices=[make.slice_("pod-0"), make.slice_("pod-1")])

    node = written(node, ledger.release(node, ["pod-0"]))

    assert set(node.slices) == {"pod-1"}


def test_releasing_an_unknown_pod_changes_nothing() -> None:
    assert ledger.release(make.node(slices=[make.slice_()]), ["stranger"]).empty


def test_a_shrink_keeps_what_was_in_force_until_the_node_confirms() -> None:
    node = make.node(slices=[make.slice_(allocated=make.amounts(24, 60))], revision=5)

    node = written(node, ledger.shrink(node, "pod-0", make.amounts(16, 25)))

    assert only(node).allocated == make.amounts(16, 25)
    assert only(node).held_memory_bytes == 24 * make.GIB
    assert only(node).revision == 6


def test_two_shrinks_in_a_row_still_hold_the_first_amount() -> None:
    node = make.node(slices=[make.slice_(allocated=make.amounts(30, 60))])

    node = written(node, ledger.shrink(node, "pod-0", make.amounts(24, 60)))
    node = written(node, ledger.shrink(node, "pod-0", make.amounts(16, 60)))

    assert only(node).held_memory_bytes == 30 * make.GIB


@pytest.mark.parametrize("asked", [make.amounts(15, 60), make.amounts(24, 24), make.amounts(25, 60)])
def test_a_shrink_never_goes_below_the_floor_nor_up(asked: values.Amounts) -> None:
    node = make.node(slices=[make.slice_(allocated=make.amounts(24, 60))])

    refusal = ledger.shrink(node, "pod-0", asked)

    assert isinstance(refusal, values.Refusal)
    assert refusal.reason is values.Reason.OUT_OF_BOUNDS


def test_a_wish_is_recorded_and_changes_no_allocation() -> None:
    node = make.node(slices=[make.slice_()])

    node = written(node, ledger.wish(node, "pod-0", make.amounts(24, 60)))

    assert only(node).wanted == make.amounts(24, 60)
    assert only(node).allocated == make.amounts(16, 25)


@pytest.mark.parametrize("asked", [make.amounts(41, 60), make.amounts(24, 20)])
def test_a_wish_stays_between_the_allocation_and_the_ceiling(asked: values.Amounts) -> None:
    refusal = ledger.wish(make.node(slices=[make.slice_()]), "pod-0", asked)

    assert isinstance(refusal, values.Refusal)
    assert refusal.reason is values.Reason.OUT_OF_BOUNDS


def test_a_granted_wish_becomes_the_allocation() -> None:
    node = make.node(slices=[make.slice_(wanted=make.amounts(24, 60))])

    node = written(node, ledger.grant(POOL, node, "pod-0"))

    assert only(node).allocated == make.amounts(24, 60)
    assert only(node).wanted is None
    assert only(node).held_memory_bytes == 24 * make.GIB


def test_a_wish_is_not_granted_beyond_the_device() -> None:
    neighbour = make.slice_("other", requests=make.amounts(60, 10))
    node = make.node(slices=[make.slice_(wanted=make.amounts(24, 60)), neighbour])

    refusal = ledger.grant(POOL, node, "pod-0")

    assert isinstance(refusal, values.Refusal)
    assert refusal.reason is values.Reason.NO_FIT


def test_memory_that_is_still_in_force_from_a_shrink_can_be_grown_back_into() -> None:
    shrunk = make.slice_(allocated=make.amounts(16, 25), held_gib=40, wanted=make.amounts(40, 25))
    node = make.node(slices=[shrunk, make.slice_("other", requests=make.amounts(40, 10))])

    node = written(node, ledger.grant(POOL, node, "pod-0"))

    assert node.slices["pod-0"].allocated == make.amounts(40, 25)


def test_a_wish_on_a_vanished_device_is_refused() -> None:
    node = make.node(devices=[], slices=[make.slice_(wanted=make.amounts(24, 60))])

    assert isinstance(ledger.grant(POOL, node, "pod-0"), values.Refusal)


def test_a_lowered_ceiling_shrinks_the_allocation_with_it() -> None:
    node = make.node(slices=[make.slice_(allocated=make.amounts(40, 100))])

    node = written(
        node,
        ledger.retarget(
            node, "pod-0", requests=make.amounts(16, 25), limits=make.amounts(20, 50), priority=0
        ),
    )

    assert only(node).allocated == only(node).limits == make.amounts(20, 50)


def test_a_raised_floor_is_a_wish_first_and_the_floor_once_it_is_granted() -> None:
    bounds = {"requests": make.amounts(24, 30), "limits": make.amounts(40, 100)}
    node = make.node(slices=[make.slice_()])

    node = written(node, ledger.retarget(node, "pod-0", priority=3, **bounds))

    assert only(node).requests == make.amounts(16, 25)
    assert only(node).wanted == make.amounts(24, 30)
    assert only(node).priority == 3

    node = written(node, ledger.grant(POOL, node, "pod-0"))
    node = written(node, ledger.retarget(node, "pod-0", priority=3, **bounds))

    assert only(node).requests == only(node).allocated == make.amounts(24, 30)


def test_a_carried_edit_changes_nothing_the_second_time() -> None:
    slice_ = make.slice_(limits=make.amounts(40, 100))

    change = ledger.retarget(
        make.node(slices=[slice_]), "pod-0", requests=slice_.requests, limits=slice_.limits, priority=0
    )

    assert isinstance(change, ledger.Change)
    assert change.empty


def test_limits_below_requests_are_refused() -> None:
    refusal = ledger.retarget(
        make.node(slices=[make.slice_()]),
        "pod-0",
        requests=make.amounts(16, 25),
        limits=make.amounts(8, 25),
        priority=0,
    )

    assert isinstance(refusal, values.Refusal)
    assert refusal.reason is values.Reason.OUT_OF_BOUNDS


@pytest.mark.parametrize(
    "refusal",
    [
        ledger.shrink(make.node(), "nobody", make.amounts(1, 1)),
        ledger.wish(make.node(), "nobody", None),
        ledger.grant(POOL, make.node(), "nobody"),
        ledger.retarget(
            make.node(), "nobody", requests=make.amounts(1, 1), limits=make.amounts(1, 1), priority=0
        ),
    ],
)
def test_a_slice_that_is_not_there_is_refused_by_name(refusal: ledger.Change | values.Refusal) -> None:
    assert isinstance(refusal, values.Refusal)
    assert refusal.reason is values.Reason.NOT_HELD
    assert "nobody" in refusal.message


def test_a_cordon_is_written_once() -> None:
    node = written(make.node(), ledger.cordon(make.node(), ["GPU-node-0"]))

    assert node.cordoned_devices == frozenset(["GPU-node-0"])
    assert ledger.cordon(node, ["GPU-node-0"]).empty


def test_an_edit_keeps_an_open_wish_inside_the_new_ceiling() -> None:
    node = make.node(slices=[replace(make.slice_(), wanted=make.amounts(40, 100))])

    node = written(
        node,
        ledger.retarget(
            node, "pod-0", requests=make.amounts(16, 25), limits=make.amounts(20, 50), priority=0
        ),
    )

    assert only(node).wanted == make.amounts(20, 50)


def test_decisions_made_one_on_the_other_make_one_change() -> None:
    node = make.node(slices=[make.slice_("old")], revision=4)
    first = ledger.release(node, ["old"])

    second = ledger.hold(POOL, ledger.staged(node, first), make.request("new"), ("GPU-node-0",))

    assert isinstance(second, ledger.Change)
    after = ledger.applied(node, ledger.merged(first, second))
    assert set(after.slices) == {"new"}
    assert after.revision == after.slices["new"].revision == 5


def test_what_a_later_decision_drops_is_not_put() -> None:
    node = make.node()
    first = ledger.hold(POOL, node, make.request("pod-0"), ("GPU-node-0",))
    assert isinstance(first, ledger.Change)

    second = ledger.release(ledger.staged(node, first), ["pod-0"])

    assert ledger.merged(first, second).put == {}
    assert dict(ledger.applied(node, ledger.merged(first, second)).slices) == {}


def test_what_a_later_decision_puts_again_is_not_dropped() -> None:
    node = make.node(slices=[make.slice_("pod-0")])
    first = ledger.release(node, ["pod-0"])

    second = ledger.hold(POOL, ledger.staged(node, first), make.request("pod-0"), ("GPU-node-0",))

    assert isinstance(second, ledger.Change)
    assert set(ledger.applied(node, ledger.merged(first, second)).slices) == {"pod-0"}


def test_an_exclusive_slice_holds_all_of_its_devices() -> None:
    pool = make.pool(reserved_gib=1, compute_overcommit=200, memory_overcommit=150)
    asked = replace(make.request(), constraints=values.Constraints(exclusive=True))

    slice_ = only(written(make.node(), ledger.hold(pool, make.node(), asked, ("GPU-node-0",))))

    assert slice_.requests == slice_.allocated == slice_.limits == make.amounts(79, 100)
    assert (slice_.held_memory_bytes, slice_.exclusive) == (79 * make.GIB, True)


def test_an_exclusive_slice_follows_its_claim_in_priority_alone() -> None:
    entry = replace(make.slice_(requests=make.amounts(79, 100)), exclusive=True)
    node = make.node(slices=[entry])

    change = ledger.retarget(
        node, entry.id, requests=make.amounts(1, 100), limits=make.amounts(2, 100), priority=5
    )

    assert only(written(node, change)) == replace(entry, priority=5)


@pytest.mark.parametrize(
    ("there", "constraints"),
    [
        (make.slice_(), values.Constraints(exclusive=True)),
        (
            replace(make.slice_(claim=make.claim_ref("other")), exclusion_group="llm"),
            values.Constraints(exclusion_group="llm"),
        ),
    ],
)
def test_company_that_constraints_forbid_is_refused(
    there: values.Slice, constraints: values.Constraints
) -> None:
    asked = replace(make.request("next"), constraints=constraints)

    found = ledger.hold(POOL, make.node(slices=[there]), asked, ("GPU-node-0",))

    assert isinstance(found, values.Refusal)
    assert "the claim's constraints keep it off" in found.message


def test_a_slice_keeps_the_exclusion_group_of_its_claim() -> None:
    asked = replace(make.request(), constraints=values.Constraints(exclusion_group="llm"))

    node = written(make.node(), ledger.hold(POOL, make.node(), asked, ("GPU-node-0",)))

    assert only(node).exclusion_group == "llm"
