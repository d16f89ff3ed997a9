from typing import Any

import jsonpatch
from hypothesis import given, settings
from hypothesis import strategies as st

from vgpu_webhooks.admission import patch

leaves = st.none() | st.booleans() | st.integers() | st.text(max_size=4)
keys = st.text(alphabet="ab/~", min_size=1, max_size=3)
documents: st.SearchStrategy[dict[str, Any]] = st.dictionaries(
    keys,
    st.recursive(
        leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3)
    ),
    max_size=4,
)


@st.composite
def grown(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any]]:
    """A document, and one that has all of it, with members added, items appended or parts replaced."""
    old = draw(documents)
    return old, _over(old, draw(documents))


def _over(old: Any, new: Any) -> Any:
    """``new``, with whatever of ``old`` it would have taken away."""
    if isinstance(old, dict) and isinstance(new, dict):
        return {**old, **{key: _over(old.get(key), value) for key, value in new.items()}}
    if isinstance(old, list) and isinstance(new, list):
        return [*old, *new]
    return new


@settings(deadline=None)
@given(grown())
def test_the_patch_turns_the_old_into_the_new(pair: tuple[dict[str, Any], dict[str, Any]]) -> None:
    old, new = pair
    operations = patch.between(old, new)

    assert jsonpatch.apply_patch(old, operations) == new


def test_nothing_changed_is_no_operation() -> None:
    same = {"a": [{"b": 1}]}

    assert patch.between(same, same) == []
    assert patch.between(same, {"a": [{"b": 1}]}) == []


def test_what_both_share_is_not_read() -> None:
    class Untouchable(dict[str, Any]):
        def items(self) -> Any:
            raise AssertionError("read")

    shared = Untouchable()

    assert patch.between({"a": shared}, {"a": shared, "b": 1}) == [{"op": "add", "path": "/b", "value": 1}]


def test_lists_only_grow() -> None:
    found = patch.between({"a": [1]}, {"a": [2, 3]})

    assert found == [
        {"op": "replace", "path": "/a/0", "value": 2},
        {"op": "add", "path": "/a/1", "value": 3},
    ]


def test_a_member_that_is_gone_is_removed() -> None:
    assert patch.between({"a/b": 1, "c": {"d": 2}}, {"c": {}}) == [
        {"op": "remove", "path": "/c/d"},
        {"op": "remove", "path": "/a~1b"},
    ]
