"""Scaling: every field becomes a value, and objectives are told apart by their type."""

from typing import Any

import pytest

from vgpu import values
from vgpu.api import InvalidObject, claim

TARGET = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "llm"}
RESOURCES = {"requests": {"memory": "1Gi", "computePercent": 10}}


def scaled(**scaling: Any) -> values.Scaling:
    about = {"name": "c", "namespace": "team-a", "uid": "u-1"}
    spec = {"resources": RESOURCES, "scaling": {"targetRef": TARGET, "maxReplicas": 4, **scaling}}
    found = claim.to_values({"metadata": about, "spec": spec}).scaling
    assert found is not None
    return found


def test_scaling_keeps_every_field() -> None:
    found = scaled(
        minReplicas=0,
        replicas=2,
        workload={"query": "rate"},
        idle={"afterSeconds": 60, "wake": {"query": "waiting"}},
        objectives=[
            {"type": "Utilization", "resource": "computePercent", "averagePercent": 70},
            {"type": "Prometheus", "name": "p99-ms", "query": "p99", "maximum": "200.5"},
        ],
        behavior={"scaleDown": {"stabilizationWindowSeconds": 30}},
    )

    assert found == values.Scaling(
        target=values.Target(api_version="apps/v1", kind="Deployment", name="llm"),
        min_replicas=0,
        max_replicas=4,
        replicas=2,
        workload_query="rate",
        use_objectives=(values.UseObjective(resource=values.Resource.COMPUTE, average_percent=70),),
        query_objectives=(values.QueryObjective(name="p99-ms", query="p99", maximum=200.5),),
        stabilization_seconds=30,
        idle_seconds=60,
        wake_query="waiting",
    )


def test_what_is_absent_is_none() -> None:
    found = scaled()

    assert (found.replicas, found.workload_query, found.idle_seconds, found.wake_query) == (None,) * 4
    assert (found.min_replicas, found.stabilization_seconds) == (1, 300)


@pytest.mark.parametrize("maximum", ["fast", "", "nan", "inf"])
def test_a_maximum_is_a_decimal_number(maximum: str) -> None:
    objective = {"type": "Prometheus", "name": "p99-ms", "query": "p99", "maximum": maximum}

    with pytest.raises(InvalidObject, match=r"objectives.0.maximum: expected a decimal number in quotes"):
        scaled(objectives=[objective])


def test_a_claim_may_keep_its_slices_as_they_are() -> None:
    about = {"name": "c", "namespace": "team-a", "uid": "u-1"}
    raw = {"metadata": about, "spec": {"resources": RESOURCES, "elasticity": {"mode": "Fixed"}}}

    assert claim.to_values(raw).elasticity is values.ElasticityMode.FIXED


def test_only_a_service_that_scales_is_placed_for_what_it_may_grow_to() -> None:
    resources = {
        "requests": {"memory": "8Gi", "computePercent": 20},
        "limits": {"memory": "40Gi", "computePercent": 50},
    }
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "llm"}

    def grown(**spec: Any) -> int:
        about = {"name": "c", "namespace": "team-a", "uid": "u-1"}
        made = claim.to_values({"metadata": about, "spec": {"resources": resources, **spec}})
        return made.grown.compute_percent

    scaling = {"targetRef": target, "maxReplicas": 2}
    assert grown(scaling=scaling) == 40
    assert grown() == 20
    assert grown(scaling=scaling, elasticity={"mode": "Fixed"}) == 20
