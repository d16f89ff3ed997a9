"""Which transitions of conditions are told as Events."""

import pytest

from vgpu.api import conditions
from vgpu.api.conditions import ClaimCondition, Condition, PoolCondition, Reason, Status
from vgpu_operator import events

BOUND = Condition(type=ClaimCondition.BOUND, status=Status.TRUE, reason=Reason.BOUND, message="one pod")


def told(before: list[Condition], now: list[Condition]) -> list[Reason]:
    stood = conditions.merge([], before, now=0, generation=1)
    return [each.reason for each in events.transitions(stood, now)]


def test_a_condition_is_told_when_its_reason_is_new() -> None:
    assert told([], [BOUND]) == [Reason.BOUND]


def test_a_condition_whose_sentence_alone_changes_is_not_told() -> None:
    other = Condition(type=BOUND.type, status=BOUND.status, reason=BOUND.reason, message="two pods")

    assert told([BOUND], [other]) == []


def test_one_reason_given_by_two_conditions_is_told_once() -> None:
    waits = [
        Condition(type=kind, status=Status.FALSE, reason=Reason.WAITING_FOR_QUOTA, message="full")
        for kind in (ClaimCondition.ACCEPTED, ClaimCondition.BOUND)
    ]

    assert told([], waits) == [Reason.WAITING_FOR_QUOTA]


def test_ready_of_a_claim_is_not_told_because_it_repeats_another() -> None:
    ready = Condition(
        type=ClaimCondition.READY, status=Status.TRUE, reason=Reason.SLICES_READY, message="well"
    )

    assert told([], [ready]) == []


@pytest.mark.parametrize("kind", [*events.ACTIONS])
def test_what_is_false_is_a_warning_wherever_it_is_told(kind: ClaimCondition | PoolCondition) -> None:
    rules = conditions.rules(kind)

    for reason in set(rules.false) & set(events.TYPES) - set(rules.true):
        assert events.TYPES[reason].value == "Warning"
    good = (
        "Warning" if kind is ClaimCondition.SCALING_LIMITED else "Normal"
    )  # the one that is bad news when true
    for reason in set(rules.true) & set(events.TYPES) - set(rules.false):
        assert events.TYPES[reason].value == good
