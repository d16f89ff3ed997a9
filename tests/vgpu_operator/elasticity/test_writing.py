"""Decided sizes become shrinks and wishes that a ledger takes, whatever has happened in between."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

import builders as make
from vgpu import ledger, values
from vgpu_operator.elasticity import writing

FLOOR, CEILING = make.amounts(4, 10), make.amounts(40, 80)
BOUNDS = writing.Bounds(requests=FLOOR, limits=CEILING)


def node(allocated: values.Amounts, *, wanted: values.Amounts | None = None) -> values.Node:
    entry = replace(
        make.slice_(),
        requests=FLOOR,
        allocated=allocated,
        limits=CEILING,
        held_memory_bytes=allocated.memory_bytes,
        wanted=wanted,
    )
    return replace(make.node(), slices={entry.id: entry})


def after(before: values.Node, size: values.Amounts) -> values.Slice:
    (slice_id,) = before.slices
    change = writing.resized(before, {slice_id: size}, BOUNDS)
    return ledger.applied(before, change).slices[slice_id]


def test_less_is_written_and_more_is_wished() -> None:
    found = after(node(make.amounts(20, 40)), make.amounts(10, 60))

    assert found.allocated == make.amounts(10, 40)
    assert found.wanted == make.amounts(10, 60)
    assert found.held_memory_bytes == 20 * values.GIB


def test_a_wish_that_nothing_wants_any_longer_ends() -> None:
    found = after(node(make.amounts(20, 40), wanted=make.amounts(20, 80)), make.amounts(20, 40))

    assert found.wanted is None


def test_what_the_ledger_says_already_is_not_written() -> None:
    before = node(make.amounts(20, 40))
    (slice_id,) = before.slices

    assert writing.resized(before, {slice_id: make.amounts(20, 40)}, BOUNDS).empty
    assert writing.resized(before, {"gone": make.amounts(20, 40)}, BOUNDS).empty


def test_a_slice_whose_claim_is_being_edited_is_left_alone() -> None:
    before = node(make.amounts(20, 40))
    (slice_id,) = before.slices
    edited = writing.Bounds(requests=FLOOR, limits=make.amounts(60, 80))

    assert writing.resized(before, {slice_id: make.amounts(10, 10)}, edited).empty


amounts = st.builds(make.amounts, st.integers(0, 64), st.integers(0, 100))
held = st.builds(make.amounts, st.integers(4, 40), st.integers(10, 80))


@given(held, st.none() | held, amounts)
def test_no_size_leaves_the_bounds_or_gives_anything_away(
    allocated: values.Amounts, wished: values.Amounts | None, size: values.Amounts
) -> None:
    wanted = None if wished is None else wished.at_least(allocated)

    found = after(node(allocated, wanted=None if wanted == allocated else wanted), size)

    goal = size.at_least(FLOOR).at_most(CEILING)
    assert found.allocated == goal.at_most(allocated)
    assert (found.wanted or found.allocated) == goal.at_least(found.allocated)


@pytest.mark.parametrize("size", [make.amounts(0, 0), make.amounts(99, 100)])
def test_sizes_beyond_the_bounds_are_cut_to_them(size: values.Amounts) -> None:
    found = after(node(FLOOR), size)

    assert (found.wanted or found.allocated) in (FLOOR, CEILING)
