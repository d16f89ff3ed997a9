"""What a sleeper held, the room it needs, and when its slice is large enough to wake it."""

import pytest

from vgpu import values
from vgpu.elasticity import decision, facts, settings, usage
from vgpu_operator.elasticity import waking

GIB = 2**30
FLOOR = values.Amounts(memory_bytes=4 * GIB, compute_percent=10)
CEILING = values.Amounts(memory_bytes=40 * GIB, compute_percent=60)


def in_bytes(gib: int | None) -> int | None:
    return None if gib is None else gib * GIB


def sleeper(*, room_gib: int) -> facts.SliceFacts:
    return facts.SliceFacts(
        id="s",
        requests=FLOOR,
        allocated=FLOOR,
        limits=CEILING,
        room=values.Amounts(memory_bytes=room_gib * GIB, compute_percent=50),
        device_uuids=("GPU-0",),
        neighbours_percent=0,
        asleep=True,
        memory_peak_bytes=0,
    )


@pytest.mark.parametrize(
    ("awake_gib", "room_gib", "quota_gib", "serves"),
    [
        (20, 16, None, True),
        (20, 15, None, False),
        (20, 16, 16, True),
        (20, 16, 15, False),
        (None, 0, 0, True),
        (50, 70, None, False),
    ],
)
def test_a_sleeper_counts_only_where_all_it_held_fits(
    awake_gib: int | None, room_gib: int, quota_gib: int | None, serves: bool
) -> None:
    slice_ = sleeper(room_gib=room_gib)

    found = waking.wakeable(slice_, in_bytes(awake_gib), quota_bytes=in_bytes(quota_gib))

    assert (found.ready, found.limits.compute_percent) == ((True, 60) if serves else (False, 10))


def test_who_wakes_gets_the_memory_that_it_held() -> None:
    slice_ = sleeper(room_gib=70)
    claim = facts.ClaimFacts(
        slices=(slice_,), curve=usage.curve(ceiling_percent=60), pool=facts.PoolFacts(free=1, placeable=0)
    )
    wakes = decision.Decision(
        action=decision.Action.WAKE, reason=decision.Reason.DEMAND_ROSE, wake=frozenset({"s"})
    )

    decided = waking.with_memory(wakes, claim, {"s": 20 * GIB}, settings.DEFAULT)

    assert decided.allocations == {"s": values.Amounts(memory_bytes=21 * GIB, compute_percent=10)}
    assert waking.with_memory(wakes, claim, {}, settings.DEFAULT).allocations == {}
