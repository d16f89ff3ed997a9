"""Memory is sized in whole multiples of a grain, within what floor, ceiling, devices and quota permit."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vgpu import values
from vgpu.elasticity import decision, facts, memory, settings, state, work

GIB = values.GIB
RULE = settings.DEFAULT
GRAIN = RULE.memory_grain_bytes


def slice_(
    *,
    allocated: int = 8 * GIB,
    peak: int | None = None,
    floor: int = 4 * GIB,
    ceiling: int = 40 * GIB,
    room: int = 80 * GIB,
) -> facts.SliceFacts:
    def amounts(memory_bytes: int) -> values.Amounts:
        return values.Amounts(memory_bytes=memory_bytes, compute_percent=20)

    return facts.SliceFacts(
        id="a",
        requests=amounts(floor),
        allocated=amounts(allocated),
        limits=amounts(ceiling),
        room=amounts(room),
        memory_peak_bytes=peak,
    )


def test_a_size_is_a_whole_multiple_of_the_grain() -> None:
    wished = memory.wished_bytes(slice_(peak=21_065_791_976), RULE)

    assert wished == 20.75 * GIB  # the next above the peak with its margin
    assert wished % GRAIN == 0


def test_unknown_use_changes_nothing() -> None:
    assert memory.wished_bytes(slice_(allocated=8 * GIB + 1), RULE) == 8 * GIB + 1


def test_a_floor_that_is_no_multiple_stays_the_floor() -> None:
    assert memory.wished_bytes(slice_(floor=5_000_000_001, peak=GIB), RULE) == 5_000_000_001


def test_a_ceiling_that_is_no_multiple_can_be_reached() -> None:
    assert memory.wished_bytes(slice_(ceiling=19_999_999_999, peak=30 * GIB), RULE) == 19_999_999_999


def test_room_that_is_no_multiple_is_not_used_to_the_last_byte() -> None:
    assert memory.wished_bytes(slice_(room=GIB + 12_345, peak=30 * GIB), RULE) == 9 * GIB


def test_a_refused_allocation_grows_by_at_least_the_step_where_that_is_free() -> None:
    denied = replace(slice_(peak=7 * GIB), memory_denied=True, memory_denied_bytes=100)

    wished = memory.wished_bytes(denied, RULE)

    assert 8 * GIB * RULE.memory_step <= wished < 8 * GIB * RULE.memory_step + GRAIN


def test_growth_that_the_quota_cuts_is_still_whole() -> None:
    claim = facts.ClaimFacts(
        slices=(slice_(peak=30 * GIB),),
        curve=work.linear(1.0, largest_percent=100),
        pool=facts.PoolFacts(free=0.5, placeable=0, quota_memory_bytes=2 * GIB + 777),
        samples=tuple(facts.Sample(at=float(i), rate=10.0) for i in range(60)),
    )

    decided, _ = decision.decide(claim, state.EMPTY, now=59.0)

    assert decided.allocations["a"].memory_bytes == 10 * GIB


@pytest.mark.parametrize("denied", [False, True])
@given(
    allocated=st.integers(4 * GIB, 40 * GIB),
    peak=st.integers(0, 60 * GIB),
    room=st.integers(0, 80 * GIB),
)
def test_a_change_is_whole_or_is_floor_or_ceiling_and_holds_the_peak_that_fits(
    denied: bool, allocated: int, peak: int, room: int
) -> None:
    before = replace(slice_(allocated=allocated, peak=peak, room=room), memory_denied=denied)

    wished = memory.wished_bytes(before, RULE)

    assert wished == allocated or wished % GRAIN == 0 or wished in (4 * GIB, 40 * GIB)
    assert 4 * GIB <= wished <= max(allocated, min(40 * GIB, allocated + room))
    assert wished >= min(peak, allocated)
