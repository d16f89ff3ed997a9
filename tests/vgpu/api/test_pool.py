"""Pools: every field becomes a value, what is absent its default."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from vgpu import values
from vgpu.api import InvalidObject, pool


def example(name: str) -> dict[str, Any]:
    examples = yaml.safe_load((Path(__file__).parent / "examples.yaml").read_text())
    (found,) = [each["manifest"] for each in examples if each["name"] == name]
    return dict(found)


def amounts(memory_gib: int, percent: int) -> values.Amounts:
    return values.Amounts(memory_bytes=memory_gib * values.GIB, compute_percent=percent)


def test_a_pool_keeps_every_field() -> None:
    found = pool.to_values(example("a pool with every field is accepted"))

    assert found == values.Pool(
        name="a100",
        node_selector=values.Selector(
            match_labels={"nvidia.com/gpu.product": "NVIDIA-A100-SXM4-80GB"},
            expressions=(
                values.Expression(key="zone", operator=values.Operator.IN, values=("a", "b")),
                values.Expression(key="draining", operator=values.Operator.DOES_NOT_EXIST),
            ),
        ),
        device_models=("NVIDIA-A100*",),
        memory_overcommit_percent=100,
        compute_overcommit_percent=200,
        reserved_memory_bytes=512 * values.MIB,
        strategy=values.Strategy.BIN_PACK,
        elasticity=values.ElasticityMode.FIXED,
        moves=values.MovePolicy.EVICT,
        ungate_after_seconds=90,
        on_escape=values.OnEscape.STOP,
        quotas={
            "team-a": values.Quota(nominal=amounts(320, 400), borrowing_limit=amounts(1536, 200)),
            "team-b": values.Quota(nominal=values.NOTHING, borrowing_limit=None),
        },
        is_default=True,
    )


def test_a_pool_of_defaults_is_the_value_of_defaults() -> None:
    found = pool.to_values(example("a pool with nothing but its nodes is accepted"))

    assert found == values.Pool(name="plain", node_selector=values.Selector())


@pytest.mark.parametrize(("spec", "quotas"), [({}, None), ({"quotas": []}, {})])
def test_no_quotas_and_empty_quotas_are_different(spec: dict[str, Any], quotas: Any) -> None:
    raw = {"metadata": {"name": "p"}, "spec": {"nodeSelector": {}} | spec}

    assert pool.to_values(raw).quotas == quotas


@pytest.mark.parametrize(("annotation", "is_default"), [("true", True), ("false", False), ("True", False)])
def test_only_the_word_true_makes_a_default_pool(annotation: str, is_default: bool) -> None:
    raw = {
        "metadata": {"name": "p", "annotations": {"vgpu.dev/is-default-pool": annotation}},
        "spec": {"nodeSelector": {}},
    }

    assert pool.to_values(raw).is_default is is_default


def test_a_broken_quantity_is_named_with_its_field() -> None:
    raw = {"metadata": {"name": "p"}, "spec": {"nodeSelector": {}, "reservedPerDevice": {"memory": "512MB"}}}

    with pytest.raises(
        InvalidObject,
        match=r"VGPUPool p: spec.reservedPerDevice.memory: expected whole bytes from 0 to 1Pi.*found '512MB'",
    ) as refused:
        pool.to_values(raw)

    assert refused.value.field == "spec.reservedPerDevice.memory"
