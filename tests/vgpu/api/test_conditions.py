"""Conditions: one signer each, reasons from the table, and a merge that touches nobody else's."""

from typing import Any

import pytest

from vgpu.api import conditions
from vgpu.api.conditions import ClaimCondition, Condition, PoolCondition, Reason, Status

EPOCH = "1970-01-01T00:00:00Z"


def bound(status: Status, reason: Reason) -> Condition:
    return Condition(type=ClaimCondition.BOUND, status=status, reason=reason, message="words")


def entry(type_: str, status: str, since: str) -> dict[str, Any]:
    return {
        "type": type_,
        "status": status,
        "reason": "Old",
        "message": "old",
        "lastTransitionTime": since,
        "observedGeneration": 1,
    }


@pytest.mark.parametrize("table", [conditions.CLAIM_TABLE, conditions.POOL_TABLE])
def test_every_condition_has_reasons_for_every_status_and_starts_unknown(table: dict[Any, Any]) -> None:
    for row in table.values():
        assert all(row.reasons(status) for status in Status)
        assert row.unknown[0] is Reason.PENDING_EVALUATION


@pytest.mark.parametrize("table", [conditions.CLAIM_TABLE, conditions.POOL_TABLE])
def test_no_two_conditions_of_a_kind_have_one_signer(table: dict[Any, Any]) -> None:
    signers = [row.signer for row in table.values()]

    assert len(set(signers)) == len(signers)


def test_the_tables_name_every_condition_and_every_reason() -> None:
    rows = [*conditions.CLAIM_TABLE.values(), *conditions.POOL_TABLE.values()]

    assert set(conditions.CLAIM_TABLE) == set(ClaimCondition)
    assert set(conditions.POOL_TABLE) == set(PoolCondition)
    assert {reason for row in rows for status in Status for reason in row.reasons(status)} == set(Reason)


def test_the_two_ready_conditions_keep_to_their_own_tables() -> None:
    with pytest.raises(ValueError, match=r"Ready True: expected one of the reasons SlicesReady, found"):
        Condition(type=ClaimCondition.READY, status=Status.TRUE, reason=Reason.DEVICES_READY, message="")
    Condition(type=PoolCondition.READY, status=Status.TRUE, reason=Reason.DEVICES_READY, message="")


def test_a_reason_that_does_not_go_with_its_status_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected one of the reasons Bound, found NoFit"):
        bound(Status.TRUE, Reason.NO_FIT)


def test_a_new_condition_is_added_with_the_time_it_began() -> None:
    merged = conditions.merge([], [bound(Status.TRUE, Reason.BOUND)], now=0.0, generation=3)

    assert merged == [
        {
            "type": "Bound",
            "status": "True",
            "observedGeneration": 3,
            "lastTransitionTime": EPOCH,
            "reason": "Bound",
            "message": "words",
        }
    ]
    assert all(type(value) in {str, int} for value in merged[0].values())


def test_an_unchanged_status_keeps_its_transition_time() -> None:
    existing = [entry("Bound", "False", EPOCH)]

    merged = conditions.merge(existing, [bound(Status.FALSE, Reason.NO_FIT)], now=9e8, generation=2)

    assert merged[0]["lastTransitionTime"] == EPOCH
    assert merged[0]["reason"] == "NoFit"
    assert merged[0]["observedGeneration"] == 2


def test_a_changed_status_moves_its_transition_time() -> None:
    existing = [entry("Bound", "False", EPOCH)]

    merged = conditions.merge(existing, [bound(Status.TRUE, Reason.BOUND)], now=1e9, generation=2)

    assert merged[0]["lastTransitionTime"] == "2001-09-09T01:46:40Z"


def test_conditions_of_others_stay_as_they_were_in_their_place() -> None:
    existing = [
        entry("Accepted", "True", EPOCH),
        entry("Bound", "False", EPOCH),
        entry("Foreign", "True", EPOCH),
    ]

    merged = conditions.merge(existing, [bound(Status.TRUE, Reason.BOUND)], now=1e9, generation=2)

    assert [each["type"] for each in merged] == ["Accepted", "Bound", "Foreign"]
    assert merged[0] == existing[0]
    assert merged[2] == existing[2]


def test_merging_the_same_again_changes_nothing() -> None:
    once = conditions.merge([], [bound(Status.TRUE, Reason.BOUND)], now=0.0, generation=1)

    assert conditions.merge(once, [bound(Status.TRUE, Reason.BOUND)], now=1e9, generation=1) == once


def test_what_was_given_is_not_changed() -> None:
    existing = [entry("Bound", "False", EPOCH)]

    conditions.merge(existing, [bound(Status.TRUE, Reason.BOUND)], now=1e9, generation=2)

    assert existing == [entry("Bound", "False", EPOCH)]
