"""How a slice follows the edited bounds of its claim."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

import builders as make
from vgpu import ledger, values
from vgpu_operator import bounds

CLAIM = values.Claim(
    ref=make.claim_ref(), pool_name="a100", requests=make.amounts(16, 25), limits=make.amounts(40, 100)
)


def node_of(slice_: values.Slice) -> values.Node:
    reports = {slice_.id: make.enforced(slice_.allocated.memory_bytes / make.GIB, revision=slice_.revision)}
    return make.node(slices=[slice_], enforced=reports, revision=5)


def decide(
    claim: values.Claim,
    slice_: values.Slice,
    *,
    pool: values.Pool | None = None,
    edited: bool = True,
) -> ledger.Change | values.Refusal:
    used = {"team-a": slice_.allocated}
    return bounds.decide(claim, pool or make.pool(), node_of(slice_), slice_.id, used, edited=edited)


def put(outcome: ledger.Change | values.Refusal) -> values.Slice:
    assert isinstance(outcome, ledger.Change), outcome
    (slice_,) = outcome.put.values()
    return slice_


def test_a_slice_with_its_claims_bounds_has_nothing_to_follow() -> None:
    assert not bounds.differ(CLAIM, make.slice_(), edited=True)
    assert bounds.differ(replace(CLAIM, priority=3), make.slice_(), edited=False)


def test_a_lowered_ceiling_shrinks_the_slice_at_once() -> None:
    lowered = replace(CLAIM, limits=make.amounts(20, 50))

    shrunk = put(decide(lowered, make.slice_(allocated=make.amounts(30, 60))))

    assert (shrunk.allocated, shrunk.limits) == (make.amounts(20, 50), make.amounts(20, 50))
    assert shrunk.held_memory_bytes == 30 * values.GIB


def test_a_raised_floor_that_can_be_granted_becomes_a_wish_and_never_an_allocation() -> None:
    raised = replace(CLAIM, requests=make.amounts(24, 50))

    wished = put(decide(raised, make.slice_()))

    assert wished.wanted == make.amounts(24, 50)
    assert wished.allocated == wished.requests == make.amounts(16, 25)


def test_a_raised_floor_that_the_allocation_already_covers_is_written_at_once() -> None:
    raised = replace(CLAIM, requests=make.amounts(24, 50))

    written = put(decide(raised, make.slice_(allocated=make.amounts(30, 60))))

    assert written.requests == make.amounts(24, 50)
    assert written.allocated == make.amounts(30, 60)


def test_a_raised_floor_above_the_quota_is_refused_whole() -> None:
    quota = values.Quota(nominal=make.amounts(20, 100), borrowing_limit=values.NOTHING)
    raised = replace(CLAIM, requests=make.amounts(24, 25), priority=7)

    outcome = decide(raised, make.slice_(), pool=make.pool(quotas={"team-a": quota}))

    assert isinstance(outcome, values.Refusal)
    assert outcome.reason is values.Reason.WAITING_FOR_QUOTA


def test_a_raised_floor_above_the_devices_room_is_refused_whole() -> None:
    raised = replace(CLAIM, requests=make.amounts(90, 25), limits=make.amounts(90, 100))

    outcome = decide(raised, make.slice_())

    assert isinstance(outcome, values.Refusal)
    assert outcome.reason is values.Reason.NO_FIT


def test_a_wish_that_waits_in_the_ledger_is_judged_anew_and_tells_why_it_waits() -> None:
    raised = replace(CLAIM, requests=make.amounts(24, 25))
    waiting = make.slice_(wanted=make.amounts(24, 25))
    quota = values.Quota(nominal=make.amounts(20, 100), borrowing_limit=values.NOTHING)

    outcome = decide(raised, waiting, pool=make.pool(quotas={"team-a": quota}), edited=False)

    assert isinstance(outcome, values.Refusal)


def test_an_edit_that_is_taken_back_ends_its_wish() -> None:
    waiting = make.slice_(wanted=make.amounts(24, 25))

    assert bounds.differ(CLAIM, waiting, edited=True)
    assert put(decide(CLAIM, waiting)).wanted is None


def test_a_wish_made_after_the_last_edit_is_left_alone() -> None:
    assert not bounds.differ(CLAIM, make.slice_(wanted=make.amounts(24, 25)), edited=False)


def test_a_floor_cannot_be_raised_in_a_pool_that_is_gone() -> None:
    raised = replace(CLAIM, requests=make.amounts(24, 25))
    slice_ = make.slice_()

    outcome = bounds.decide(raised, None, node_of(slice_), slice_.id, {}, edited=True)

    assert isinstance(outcome, values.Refusal)
    assert outcome.reason is values.Reason.POOL_NOT_FOUND


gib = st.integers(1, 80)
percent = st.integers(1, 100)


@st.composite
def bounded(draw: st.DrawFn) -> tuple[values.Amounts, values.Amounts]:
    low, high = sorted([draw(gib), draw(gib)])
    few, many = sorted([draw(percent), draw(percent)])
    return make.amounts(low, few), make.amounts(high, many)


@given(old=bounded(), new=bounded(), edited=st.booleans())
def test_no_edit_grows_an_allocation_or_leaves_the_slices_own_bounds(
    old: tuple[values.Amounts, values.Amounts], new: tuple[values.Amounts, values.Amounts], edited: bool
) -> None:
    slice_ = make.slice_(requests=old[0], limits=old[1])
    claim = replace(CLAIM, requests=new[0], limits=new[1])

    outcome = decide(claim, slice_, edited=edited)

    if isinstance(outcome, ledger.Change) and not outcome.empty:
        written = put(outcome)
        assert slice_.allocated.covers(written.allocated)
        assert written.allocated.covers(written.requests)
        assert written.limits.covers(written.wanted or written.allocated)
        assert written.held_memory_bytes >= written.allocated.memory_bytes
