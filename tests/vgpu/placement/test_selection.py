"""What a claim's device expressions accept, and when they contradict each other."""

import fnmatch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vgpu import values
from vgpu.placement import selection

patterns = st.text(alphabet="ab*", max_size=6)
texts = st.text(alphabet="ab", max_size=8)


def expression(text: str) -> values.Expression:
    """``model In A100* H100`` as a value."""
    key, operator, *named = text.split()
    return values.Expression(key=key, operator=values.Operator(operator), values=tuple(named))


@given(pattern=patterns, text=texts)
def test_a_star_stands_for_any_characters(pattern: str, text: str) -> None:
    assert selection.matches(pattern, text) == fnmatch.fnmatchcase(text, pattern)


def test_all_but_the_star_is_taken_as_it_is() -> None:
    assert selection.matches("A10[0-9]?", "A10[0-9]?")
    assert not selection.matches("A10[0-9]?", "A1000")


def test_a_pattern_of_many_stars_is_matched_at_once() -> None:
    assert not selection.matches("*a" * 60 + "b", "a" * 128)


@pytest.mark.parametrize(
    ("expressions", "accepted"),
    [
        ((), True),
        (("model In A100*",), True),
        (("model In H100 A100-80GB",), True),
        (("model NotIn H100",), True),
        (("model NotIn A100*",), False),
        (("model In H100",), False),
        (("uuid In GPU-1 GPU-2",), True),
        (("uuid NotIn GPU-1",), False),
        (("model In A100*", "uuid In GPU-2"), False),
    ],
)
def test_a_device_is_accepted_by_all_expressions_or_not_at_all(
    expressions: tuple[str, ...], accepted: bool
) -> None:
    asked = [expression(each) for each in expressions]

    assert selection.selects(asked, model="A100-80GB", uuid="GPU-1") is accepted


def test_known_models_are_chosen_by_the_expressions_on_models() -> None:
    asked = [expression("model In A*"), expression("model NotIn A10"), expression("uuid In GPU-1")]

    assert selection.models(asked, ["A10", "A100", "H100"]) == {"A100"}


@pytest.mark.parametrize(
    "expressions",
    [
        ("model In A100", "model NotIn A100"),
        ("model In A100* A10", "model NotIn A1*"),
        ("model In A100*", "model In H100*"),
        ("model In *-80GB", "model In *-40GB"),
        ("uuid In GPU-1 GPU-2", "uuid NotIn GPU-1", "uuid NotIn GPU-2"),
        ("uuid In GPU-1", "model In A100", "uuid In GPU-2"),
    ],
)
def test_expressions_that_no_device_can_meet_are_found(expressions: tuple[str, ...]) -> None:
    assert selection.contradiction([expression(each) for each in expressions]) is not None


@pytest.mark.parametrize(
    "expressions",
    [
        ("model In A100*", "model NotIn A100-40GB"),
        ("model In A100* H100", "model NotIn A1*"),
        ("model In NVIDIA*", "model In *80GB"),
        ("model In A*B", "model In AB"),
        ("uuid In GPU-1", "model NotIn GPU-1"),
        ("model NotIn *",),
    ],
)
def test_expressions_that_some_device_could_meet_are_no_contradiction(expressions: tuple[str, ...]) -> None:
    assert selection.contradiction([expression(each) for each in expressions]) is None


expressions = st.builds(
    values.Expression,
    key=st.just("model"),
    operator=st.sampled_from([values.Operator.IN, values.Operator.NOT_IN]),
    values=st.lists(patterns, min_size=1, max_size=3).map(tuple),
)


@given(asked=st.lists(expressions, max_size=4), text=texts)
def test_what_some_device_meets_is_never_called_a_contradiction(
    asked: list[values.Expression], text: str
) -> None:
    met = selection.selects(asked, model=text, uuid="GPU-1")

    assert not (met and selection.contradiction(asked))
