"""A played agent reports what the ledger allocates, and nothing that is reported already."""

from typing import Any

from vgpu_e2e import agents

ENTRY = {"allocated": {"memory": "2Gi", "computePercent": 20}, "revision": 3}
REPORT = {"memory": "2Gi", "computePercent": 20, "revision": 3, "state": "Applied"}


def node(slices: dict[str, Any], reported: dict[str, Any] | None) -> dict[str, Any]:
    status = {} if reported is None else {"slices": reported}
    return {"spec": {"slices": slices}, "status": status}


def test_a_new_slice_is_reported_as_applied() -> None:
    assert agents.changed_slices(node({"a": ENTRY}, None), held=set()) == {"a": REPORT}


def test_what_stands_there_already_is_not_reported_again() -> None:
    defaulted = REPORT | {"message": "", "pressure": []}

    assert agents.changed_slices(node({"a": ENTRY}, {"a": defaulted}), held=set()) == {}


def test_a_resized_slice_is_reported_anew() -> None:
    old = REPORT | {"memory": "1Gi", "revision": 2}

    assert agents.changed_slices(node({"a": ENTRY}, {"a": old}), held=set()) == {"a": REPORT}


def test_the_report_of_a_slice_that_is_gone_is_removed() -> None:
    assert agents.changed_slices(node({}, {"a": REPORT}), held=set()) == {"a": None}


def test_labels_that_differ_are_mirrored() -> None:
    mirrored, original = {"same": "1", "old": "1", "gone": "1"}, {"same": "1", "old": "2", "new": "1"}

    assert agents.changed_labels(mirrored, original) == {"old": "2", "new": "1", "gone": None}
    assert agents.changed_labels(original, original) == {}


def test_nothing_new_is_reported_about_a_held_slice() -> None:
    assert agents.changed_slices(node({"a": ENTRY}, {"b": REPORT}), held={"a", "b"}) == {}
