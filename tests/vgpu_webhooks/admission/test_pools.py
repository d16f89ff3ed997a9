from dataclasses import replace

import pytest

import builders as make
from vgpu import values
from vgpu_webhooks.admission import pools


def selecting(key: str, *found: str) -> values.Pool:
    expression = values.Expression(key=key, operator=values.Operator.IN, values=found)
    return replace(make.pool(), node_selector=values.Selector(expressions=(expression,)))


@pytest.mark.parametrize("key", ["gpu", "nvidia.com/gpu.product", "a.b-c.io/X_y"])
def test_label_keys_are_accepted(key: str) -> None:
    assert pools.objections(selecting(key, "A100-SXM4", ""), []) == []


@pytest.mark.parametrize("key", ["a b", "/gpu", "UPPER.io/gpu", "x" * 64, "a/b/c", "gpu/"])
def test_what_no_label_can_be_called_is_refused(key: str) -> None:
    [sentence] = pools.objections(selecting(key), [])

    assert repr(key) in sentence


@pytest.mark.parametrize("value", ["a b", "x" * 64, "-a", "ü"])
def test_what_no_label_can_say_is_refused(value: str) -> None:
    match = replace(make.pool(), node_selector=values.Selector(match_labels={"gpu": value}))

    [sentence] = pools.objections(match, [])

    assert "no node can have it" in sentence


def test_a_second_default_pool_is_refused_and_the_first_named() -> None:
    first, second = (replace(make.pool(name), is_default=True) for name in ("first", "second"))

    [sentence] = pools.objections(second, [first])

    assert "take the annotation vgpu.dev/is-default-pool from 'first' first" in sentence


def test_a_default_pool_may_be_edited() -> None:
    default = replace(make.pool(), is_default=True)

    assert pools.objections(replace(default, reserved_memory_bytes=1), [default, make.pool("other")]) == []
