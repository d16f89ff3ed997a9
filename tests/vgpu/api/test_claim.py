"""Claims: every field becomes a value, a limit that is absent the floor."""

from typing import Any

import pytest

from vgpu import values
from vgpu.api import InvalidObject, claim


def amounts(memory_gib: int, percent: int) -> values.Amounts:
    return values.Amounts(memory_bytes=memory_gib * values.GIB, compute_percent=percent)


def claim_of(resources: dict[str, Any], **spec: Any) -> dict[str, Any]:
    about = {"name": "c", "namespace": "team-a", "uid": "u-1"}
    return {"metadata": about, "spec": {"resources": resources} | spec}


def test_a_claim_keeps_every_field() -> None:
    raw = claim_of(
        {
            "requests": {"memory": "16Gi", "computePercent": 25},
            "limits": {"memory": "40Gi", "computePercent": 100},
        },
        poolName="a100",
        deviceCount=2,
        allocationMode="Shared",
        priority=-5,
    )

    assert claim.to_values(raw) == values.Claim(
        ref=values.ClaimRef(namespace="team-a", name="c", uid="u-1"),
        pool_name="a100",
        requests=amounts(16, 25),
        limits=amounts(40, 100),
        device_count=2,
        mode=values.AllocationMode.SHARED,
        priority=-5,
    )


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        (None, amounts(16, 25)),
        ({}, amounts(16, 25)),
        ({"memory": "40Gi"}, amounts(40, 25)),
        ({"computePercent": 90}, amounts(16, 90)),
    ],
)
def test_a_limit_that_is_absent_equals_the_floor(limits: Any, expected: values.Amounts) -> None:
    resources = {"requests": {"memory": "16Gi", "computePercent": 25}}
    raw = claim_of(resources if limits is None else resources | {"limits": limits})

    assert claim.to_values(raw).limits == expected


def test_a_claim_that_is_not_stored_yet_has_no_uid_and_no_pool() -> None:
    raw = claim_of({"requests": {"memory": "1Gi", "computePercent": 1}}) | {"metadata": {"name": "c"}}

    found = claim.to_values(raw)

    assert found.ref.uid == ""
    assert found.pool_name is None


def test_a_ceiling_below_the_floor_is_refused() -> None:
    raw = claim_of({"requests": {"memory": "16Gi", "computePercent": 25}, "limits": {"memory": "8Gi"}})

    with pytest.raises(
        InvalidObject, match=r"spec.resources.limits: expected at least 16Gi/25%, found '8Gi/25%'"
    ):
        claim.to_values(raw)


@pytest.mark.parametrize("percent", [0, 101, -1, "25", 25.5, True, None])
def test_compute_is_an_integer_from_1_to_100(percent: Any) -> None:
    with pytest.raises(InvalidObject, match=r"VGPUClaim c: spec.resources.requests.computePercent: expected"):
        claim.to_values(claim_of({"requests": {"memory": "1Gi", "computePercent": percent}}))


def test_the_summary_says_floor_and_ceiling_in_words() -> None:
    raw = claim_of({"requests": {"memory": "16Gi", "computePercent": 25}, "limits": {"memory": "40Gi"}})

    assert claim.summary_to_json(claim.to_values(raw)) == {"floor": "16Gi/25%", "ceiling": "40Gi/25%"}


@pytest.mark.parametrize(("gang", "expected"), [({}, 1), ({"gang": {"minPods": 8}}, 8)])
def test_a_gang_is_how_many_pods_start_together(gang: dict[str, Any], expected: int) -> None:
    raw = claim_of({"requests": {"memory": "1Gi", "computePercent": 1}}, **gang)

    assert claim.to_values(raw).gang_pods == expected


def test_a_claim_keeps_its_constraints() -> None:
    raw = claim_of(
        {"requests": {"memory": "16Gi", "computePercent": 100}},
        deviceSelector={
            "matchExpressions": [
                {"key": "model", "operator": "In", "values": ["A100*", "H100"]},
                {"key": "uuid", "operator": "NotIn", "values": ["GPU-1"]},
            ]
        },
        exclusive=True,
        exclusionGroup="llm",
        topology={"numa": "Required"},
    )

    assert claim.to_values(raw).constraints == values.Constraints(
        devices=(
            values.Expression(key="model", operator=values.Operator.IN, values=("A100*", "H100")),
            values.Expression(key="uuid", operator=values.Operator.NOT_IN, values=("GPU-1",)),
        ),
        exclusive=True,
        exclusion_group="llm",
        numa=values.NumaAlignment.REQUIRED,
    )


def test_a_claim_of_an_earlier_version_has_no_constraints() -> None:
    raw = claim_of({"requests": {"memory": "16Gi", "computePercent": 25}})

    assert claim.to_values(raw).constraints == values.UNCONSTRAINED


@pytest.mark.parametrize(
    ("cooperation", "port"),
    [
        ({}, None),
        ({"type": "LimitWatch", "port": 9000}, None),
        ({"type": "HTTPSleep"}, 8000),
        ({"type": "HTTPSleep", "port": 9000}, 9000),
    ],
)
def test_only_applications_that_sleep_over_http_have_a_port_for_it(
    cooperation: Any, port: int | None
) -> None:
    raw = claim_of({"requests": {"memory": "1Gi", "computePercent": 1}}, cooperation=cooperation)

    assert claim.to_values(raw).sleep_port == port
