"""A set of slices follows the load only when together it serves too little, or far too much for a while."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import amounts
from vgpu.elasticity import facts, pace, resizing, settings, work

RULE = settings.DEFAULT
CURVE = work.linear(1.0, largest_percent=100)
ROOMY, FULL = RULE.roomy, RULE.full


def slices(*percents: int, floor: int = 5) -> list[facts.SliceFacts]:
    return [
        facts.SliceFacts(
            id=str(i),
            requests=amounts(4, floor),
            allocated=amounts(4, percent),
            limits=amounts(8, 100),
            room=amounts(0, 100),
        )
        for i, percent in enumerate(percents)
    ]


def settled(
    present: list[facts.SliceFacts],
    wished: Mapping[str, int],
    *,
    allowed: pace.Pace = ROOMY,
    quiet: str = "012",
) -> dict[str, int]:
    rate = float(sum(wished.values()))
    return resizing.settled(present, wished, rate, CURVE, allowed=allowed, quiet=set(quiet), rule=RULE)


def test_a_set_that_suffices_stays_however_unequal_its_parts_are() -> None:
    assert settled(slices(60, 20), {"0": 40, "1": 40}) == {}


def test_a_set_that_falls_short_grows_and_nobody_shrinks_meanwhile() -> None:
    assert settled(slices(60, 20), {"0": 45, "1": 45}) == {"1": 45}


def test_a_set_with_a_large_surplus_takes_equal_parts_and_keeps_a_little_more_than_asked() -> None:
    assert settled(slices(60, 20), {"0": 30, "1": 30}) == {"0": 32, "1": 31}
    assert settled(slices(60, 20), {"0": 30, "1": 30}, allowed=FULL) == {"0": 30, "1": 30}


def test_a_slice_that_just_grew_keeps_its_share() -> None:
    assert settled(slices(60, 60), {"0": 20, "1": 20}, quiet="1") == {"1": 21}


def test_a_set_that_needs_its_floors_goes_there_exactly() -> None:
    assert settled(slices(6, 5), {"0": 5, "1": 5}) == {"0": 5}


@pytest.mark.parametrize("surplus", [0.16, 0.24])
def test_a_full_pool_takes_back_a_surplus_that_a_roomy_one_leaves(surplus: float) -> None:
    present, wished = slices(round(50 * (1 + surplus))), {"0": 50}

    assert settled(present, wished, allowed=ROOMY) == {}
    assert settled(present, wished, allowed=FULL) == {"0": 50}


@given(
    present=st.lists(st.integers(5, 100), min_size=1, max_size=3),
    wished=st.lists(st.integers(5, 100), min_size=3, max_size=3),
    ease=st.floats(0, 1),
)
def test_growth_never_stops_while_slices_that_could_grow_serve_too_little(
    present: list[int], wished: list[int], ease: float
) -> None:
    shares = dict(enumerate(present))
    asked = {str(i): wished[i] for i in shares}
    for _ in range(3):
        moved = settled(slices(*shares.values()), asked, allowed=pace.between(FULL, ROOMY, ease))
        shares |= {int(id_): share for id_, share in moved.items()}

    assert sum(shares.values()) >= (1 - RULE.lack) * sum(asked.values())


def test_a_slice_that_has_just_woken_grows_even_where_the_others_nearly_suffice() -> None:
    """Whatever it serves while it is too small would be late."""
    curve = replace(CURVE, floor_percent=10)
    woken = slices(50, 1, floor=1)

    moved = resizing.settled(
        woken, {"0": 26, "1": 25}, 51.0, curve, allowed=ROOMY, quiet={"0", "1"}, rule=RULE
    )

    assert moved == {"1": 25}
