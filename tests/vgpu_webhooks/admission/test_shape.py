from typing import Any

import pytest

from vgpu_webhooks.admission import shape


def nested(depth: int) -> Any:
    value: Any = {}
    for _ in range(depth):
        value = {"a": [value]}
    return value


@pytest.mark.parametrize("absent", [{}, {"x": None}])
def test_what_is_absent_reads_as_empty(absent: dict[str, Any]) -> None:
    read = (shape.mapping(absent, "x"), shape.objects(absent, "x"), shape.text(absent, "x"))

    assert read == ({}, [], "")
    assert shape.texts(absent, "x") == []


@pytest.mark.parametrize("found", [[], "text", 3, True])
def test_a_wrong_type_is_named_with_its_field(found: object) -> None:
    with pytest.raises(shape.MalformedError, match="expected an object in spec, found"):
        shape.mapping({"spec": found}, "spec")


@pytest.mark.parametrize("found", [{}, "text", [1], [{}, "x"]])
def test_a_list_of_other_things_is_no_list_of_objects(found: object) -> None:
    with pytest.raises(shape.MalformedError, match="expected a list of objects in containers"):
        shape.objects({"containers": found}, "containers")


@pytest.mark.parametrize("found", [{}, "ALL", [1]])
def test_a_list_of_other_things_is_no_list_of_texts(found: object) -> None:
    with pytest.raises(shape.MalformedError, match="expected a list of texts in add"):
        shape.texts({"add": found}, "add")


def test_a_text_is_a_text() -> None:
    with pytest.raises(shape.MalformedError, match="expected a text in nodeName, found the number '3'"):
        shape.text({"nodeName": 3}, "nodeName")


def test_deep_nesting_is_refused_without_recursion() -> None:
    shape.bounded(nested(20))

    with pytest.raises(shape.MalformedError, match="levels of nesting"):
        shape.bounded(nested(100_000))


def test_a_long_text_is_cut_in_messages() -> None:
    assert len(shape.described("x" * 300)) < 100
