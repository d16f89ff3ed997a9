import pytest
from hypothesis import given
from hypothesis import strategies as st

from vgpu_cli.simulation import rates


def test_one_number_a_line_is_one_second_each() -> None:
    assert rates.parsed("rate\n1\n\n2.5\n# night\n0\n") == [1.0, 2.5, 0.0]


def test_with_times_a_rate_lasts_until_the_next_and_the_last_as_long_as_the_one_before() -> None:
    assert rates.parsed("seconds,rate\n0,5\n3,7\n5,1\n") == [5, 5, 5, 7, 7, 1, 1]


def test_times_may_begin_anywhere_and_have_fractions() -> None:
    assert rates.parsed("1000.4,5\n1002.4,7\n") == [5, 5, 7, 7]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "found none"),
        ("1\ntwo\n", "line 2: expected a rate"),
        ("1\n-2\n", "line 2"),
        ("1\nnan\n", "line 2"),
        ("1\ninf\n", "line 2"),
        ("1,2,3\n", "line 1"),
        ("1\n2,3\n", "same number of values"),
        ("5,1\n4,1\n", "times that rise"),
        ("0,1\n10000000,1\n", "at most 604,800 seconds"),
    ],
)
def test_what_is_no_load_is_refused_in_words(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        rates.parsed(text)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=50))
def test_every_rate_that_is_written_is_read(series: list[float]) -> None:
    assert rates.parsed("\n".join(map(repr, series))) == series
