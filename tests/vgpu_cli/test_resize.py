import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from town import Run, Town
from vgpu import values
from vgpu_cli import resizing
from vgpu_kube import errors
from vgpu_kube.resources import VGPU_CLAIMS

GIB = values.GIB


def _resources(town: Town) -> dict[str, Any]:
    found = next(each for each in town.objects(VGPU_CLAIMS) if each["metadata"]["name"] == "llm")
    resources: dict[str, Any] = found["spec"]["resources"]
    return resources


def test_a_resize_patches_only_what_is_named(run: Run, settled: Town) -> None:
    answer = run("resize", "llm", "--requests", "memory=30Gi", "--limits", "computePercent=90")

    assert answer.exit_code == 0
    assert _resources(settled) == {
        "requests": {"memory": "30Gi", "computePercent": 40},
        "limits": {"memory": "40Gi", "computePercent": 90},
    }


def test_a_dry_run_says_the_effect_and_writes_nothing(run: Run, settled: Town) -> None:
    before = _resources(settled)

    answer = run("resize", "llm", "--requests", "memory=60Gi", "--limits", "memory=60Gi", "--dry-run")

    assert "1 slice up by 20 GiB/0 % in all" in answer.output
    assert "quota: within nominal" in answer.output
    assert _resources(settled) == before
    assert settled.rehearsed


def test_growth_above_the_quota_is_foretold(run: Run, settled: Town) -> None:
    words = ("--requests", "memory=100Gi", "--limits", "memory=100Gi", "--dry-run", "-o", "json")

    answer = json.loads(run("resize", "llm", *words).output)

    assert answer["waits"]["reason"] == "WaitingForQuota"
    assert answer["taken"] == {"memoryBytes": 60 * GIB, "computePercent": 0}


def test_a_lower_ceiling_shrinks_what_lies_above_it(run: Run, settled: Town) -> None:
    answer = run("resize", "llm", "--limits", "memory=30Gi", "--dry-run").output

    assert "1 slice down by 10 GiB/0 % in all" in answer


def test_a_ceiling_below_the_floor_is_refused_before_anything_is_asked(run: Run, settled: Town) -> None:
    answer = run("resize", "llm", "--limits", "memory=10Gi")

    assert answer.exit_code == 1
    assert "expected a ceiling of at least the floor 20 GiB/40 %" in answer.output


def test_what_the_api_server_refuses_is_said_in_its_words(run: Run, settled: Town) -> None:
    settled.refuse_rehearsals = errors.Invalid(422, "Invalid", "memory: at most 1Pi")

    answer = run("resize", "llm", "--requests", "memory=30Gi", "--dry-run")

    assert answer.exit_code == 1
    assert "at most 1Pi" in answer.output


@pytest.mark.parametrize(
    "words", [(), ("--requests", "memory=16Qi"), ("--requests", "cpu=1"), ("--limits", "computePercent=a")]
)
def test_wrong_amounts_are_wrong_usage(run: Run, settled: Town, words: tuple[str, ...]) -> None:
    assert run("resize", "llm", *words).exit_code == 2


def _amounts(least: int = 1) -> st.SearchStrategy[values.Amounts]:
    return st.builds(
        values.Amounts,
        memory_bytes=st.integers(least, 80).map(lambda each: each * GIB),
        compute_percent=st.integers(least, 100),
    )


@given(first=_amounts(), second=_amounts(), third=_amounts(), fourth=_amounts(), slices=st.integers(0, 5))
def test_what_is_taken_and_freed_leads_from_the_old_allocation_into_the_new_bounds(
    first: values.Amounts, second: values.Amounts, third: values.Amounts, fourth: values.Amounts, slices: int
) -> None:
    before = resizing.Bounds(requests=first.at_most(second), limits=first.at_least(second))
    after = resizing.Bounds(requests=third.at_most(fourth), limits=third.at_least(fourth))
    allocated = [before.requests] * slices

    effect = resizing.effect(before, after, allocated, devices=2, namespace="team-a", pool=None, used={})

    then = sum((each.times(2) for each in allocated), values.NOTHING) + effect.taken - effect.freed
    assert after.limits.times(2 * slices).covers(then)
    assert then.covers(after.requests.times(2 * slices))
    assert effect.taken.covers(values.NOTHING)
    assert effect.freed.covers(values.NOTHING)
