"""Equal parts of a rate over slices, in whole percents."""

from hypothesis import given
from hypothesis import strategies as st

from builders import amounts
from vgpu.elasticity import facts, vertical, work

CURVE = work.linear(1.0, largest_percent=100)


def slices(count: int) -> list[facts.SliceFacts]:
    return [
        facts.SliceFacts(
            id=str(i),
            requests=amounts(4, 1),
            allocated=amounts(4, 10 + i),
            limits=amounts(4, 100),
            room=amounts(0, 80),
            device_uuids=(f"GPU-{i}",),
        )
        for i in range(count)
    ]


def test_what_rounding_up_adds_is_taken_off_again_at_the_smallest_slices() -> None:
    sized = vertical.sizes(slices(4), rate=82.0, curve=CURVE)

    assert sized.percent == {"0": 20, "1": 20, "2": 21, "3": 21}


@given(count=st.integers(1, 8), rate=st.floats(1, 300))
def test_sizes_serve_the_rate_with_less_than_one_percent_to_spare(count: int, rate: float) -> None:
    sized = vertical.sizes(slices(count), rate=rate, curve=CURVE)

    spare = sum(map(CURVE.rate_at, sized.percent.values())) - rate + sized.unserved_rate
    assert -1e-6 <= spare < max(1.0, count - rate + 1e-6)
