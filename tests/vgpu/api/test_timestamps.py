"""Times: RFC 3339 outside, seconds since the epoch inside."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vgpu.api import timestamps


@given(st.integers(min_value=0, max_value=4_000_000_000))
def test_what_is_written_reads_back_exactly(seconds: int) -> None:
    assert timestamps.parse_time(timestamps.format_time(seconds)) == seconds


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-01T00:00:00Z", 0.0),
        ("2001-09-09T01:46:40.5Z", 1_000_000_000.5),
        ("2001-09-09T01:46:40.123456789Z", 1_000_000_000.123456),
        ("2001-09-09T03:46:40+02:00", 1_000_000_000.0),
    ],
)
def test_the_forms_of_kubernetes_are_understood(text: str, expected: float) -> None:
    assert timestamps.parse_time(text) == expected


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="add the Z"):
        timestamps.parse_time("2026-01-31T12:00:00")


def test_seconds_are_cut_and_never_rounded_into_the_future() -> None:
    assert timestamps.format_time(0.999) == "1970-01-01T00:00:00Z"
