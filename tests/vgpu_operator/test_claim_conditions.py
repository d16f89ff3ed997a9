"""What a claim says about itself, sentence by sentence."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import builders as make
from vgpu import values
from vgpu.api.conditions import ClaimCondition, Condition, Reason, Status
from vgpu.placement import choice
from vgpu_operator import claim_conditions, known
from vgpu_operator.elasticity import outcomes
from vgpu_operator.holdings import Holding

CLAIM = values.Claim(
    ref=make.claim_ref(), pool_name="a100", requests=make.amounts(16, 25), limits=make.amounts(40, 100)
)
TEAM_A = values.Quota(nominal=make.amounts(64, 200), borrowing_limit=make.amounts(32, 100))


def pod(name: str = "pod-0", *, saying: str = "") -> known.Pod:
    return known.Pod(
        ref=values.PodRef(name=name, uid=name),
        namespace="team-a",
        claim_name="llm",
        created_at=0.0,
        finished=False,
        deleting=False,
        saying=saying,
    )


IN_FORCE = make.enforced(16, revision=1)


def holding(slice_: values.Slice | None = None, enforced: values.Enforced | None = IN_FORCE) -> Holding:
    return Holding(node="node-0", slice=slice_ or make.slice_(), enforced=enforced)


def facts(**given_: Any) -> claim_conditions.Facts:
    """A claim of one running pod, but for what is given."""
    usual: dict[str, Any] = {
        "claim": CLAIM,
        "pool_name": "a100",
        "pool": make.pool(),
        "largest_bytes": 80 * values.GIB,
        "used": {},
        "holdings": (holding(),),
        "pods": (pod(),),
        "waiting": (),
        "verdict": None,
        "refused_edit": None,
        "deleting": False,
    }
    return claim_conditions.Facts(**{**usual, **given_})


def says(kind: ClaimCondition, given_: claim_conditions.Facts) -> Condition:
    (found,) = [each for each in claim_conditions.of(given_) if each.type is kind]
    return found


def waiting(verdict: object, **given_: Any) -> claim_conditions.Facts:
    return facts(holdings=(), waiting=(pod(),), verdict=verdict, **given_)


def test_a_running_claim_is_ready() -> None:
    ready = says(ClaimCondition.READY, facts())

    assert (ready.status, ready.reason) == (Status.TRUE, Reason.SLICES_READY)
    assert ready.message == "1 pod between 16 GiB/25 % and 40 GiB/100 % per GPU"


@pytest.mark.parametrize(
    ("given_", "reason", "told"),
    [
        (facts(pool_name=None, pool=None), Reason.NO_DEFAULT_POOL, "is-default-pool=true"),
        (facts(pool=None), Reason.POOL_NOT_FOUND, "there is no VGPUPool a100; create it"),
        (facts(largest_bytes=8 * values.GIB), Reason.EXCEEDS_DEVICE, "can promise 8 GiB"),
    ],
)
def test_a_claim_without_a_usable_pool_is_not_accepted_and_says_what_to_do(
    given_: claim_conditions.Facts, reason: Reason, told: str
) -> None:
    accepted = says(ClaimCondition.ACCEPTED, given_)

    assert (accepted.status, accepted.reason) == (Status.FALSE, reason)
    assert told in accepted.message


def test_a_claim_whose_namespace_has_no_quota_is_refused_before_its_first_pod() -> None:
    closed = make.pool(quotas={"team-b": TEAM_A})

    accepted = says(ClaimCondition.ACCEPTED, facts(pool=closed, holdings=(), pods=()))

    assert (accepted.status, accepted.reason) == (Status.FALSE, Reason.EXCEEDS_QUOTA)


def test_a_claim_that_runs_stays_accepted_when_its_quota_is_cut_below_what_it_holds() -> None:
    cut = make.pool(quotas={"team-a": replace(TEAM_A, nominal=make.amounts(1, 1))})

    accepted = says(ClaimCondition.ACCEPTED, facts(pool=cut, used={"team-a": make.amounts(16, 25)}))

    assert (accepted.status, accepted.reason) == (Status.TRUE, Reason.BORROWING)


def test_a_namespace_above_its_nominal_is_said_to_borrow() -> None:
    pool = make.pool(quotas={"team-a": TEAM_A})

    within = says(ClaimCondition.ACCEPTED, facts(pool=pool, used={"team-a": make.amounts(64, 200)}))
    above = says(ClaimCondition.ACCEPTED, facts(pool=pool, used={"team-a": make.amounts(80, 200)}))

    assert within.reason is Reason.WITHIN_QUOTA
    assert above.reason is Reason.BORROWING
    assert "16 GiB/0 % of it borrowed" in above.message


def test_a_pod_that_waits_for_quota_says_so_in_accepted_bound_and_ready() -> None:
    refusal = values.Refusal(reason=values.Reason.WAITING_FOR_QUOTA, message="team-a holds all it may")

    told = {each.type: each for each in claim_conditions.of(waiting(refusal))}

    assert told[ClaimCondition.ACCEPTED].reason is Reason.WAITING_FOR_QUOTA
    assert told[ClaimCondition.BOUND].reason is Reason.WAITING_FOR_QUOTA
    assert told[ClaimCondition.READY].status is Status.FALSE
    assert told[ClaimCondition.READY].message == "team-a holds all it may"


def test_a_pod_that_fits_nowhere_says_why_by_groups_of_nodes() -> None:
    verdict = choice.NoFit(reasons={"node-0": "no GPU", "node-1": "no GPU", "node-2": "cordoned"})

    bound = says(ClaimCondition.BOUND, waiting(verdict))

    assert (bound.status, bound.reason) == (Status.FALSE, Reason.NO_FIT)
    assert bound.message == "pod pod-0 waits: 2 nodes: no GPU; 1 node: cordoned"


def test_a_pod_with_room_waits_for_the_scheduler_and_repeats_what_that_said() -> None:
    room = choice.Placement(node="node-3", device_uuids=("GPU-0",))
    given_ = facts(holdings=(), waiting=(pod("a", saying="0/3 nodes: taint"), pod("b")), verdict=room)

    bound = says(ClaimCondition.BOUND, given_)

    assert (bound.status, bound.reason) == (Status.UNKNOWN, Reason.PENDING_EVALUATION)
    assert bound.message == (
        "pod a and 1 other pod wait for kube-scheduler; node-3 has room;"
        " kube-scheduler said last: 0/3 nodes: taint"
    )


def test_a_claim_without_pods_tells_the_label_that_joins_it() -> None:
    ready = says(ClaimCondition.READY, facts(holdings=(), pods=()))

    assert (ready.status, ready.reason) == (Status.UNKNOWN, Reason.WAITING_FOR_PODS)
    assert "vgpu.dev/claim: llm" in ready.message


@pytest.mark.parametrize("enforced", [None, make.enforced(16, revision=0)])
def test_limits_are_in_force_only_when_the_node_has_confirmed_this_revision(
    enforced: values.Enforced | None,
) -> None:
    told = says(ClaimCondition.ENFORCED, facts(holdings=(holding(enforced=enforced),)))

    assert (told.status, told.reason) == (Status.UNKNOWN, Reason.WAITING_FOR_AGENT)


def test_limits_that_a_node_refuses_are_told_in_the_nodes_words() -> None:
    refused = replace(
        make.enforced(16, revision=1), state=values.EnforcementState.REFUSED, message="no shim in the image"
    )

    told = says(ClaimCondition.ENFORCED, facts(holdings=(holding(enforced=refused),)))

    assert (told.status, told.reason) == (Status.FALSE, Reason.LIMITS_REFUSED)
    assert told.message == "node node-0 cannot apply the limits: no shim in the image"


def test_memory_that_the_application_still_holds_defers_the_shrink() -> None:
    held = replace(make.enforced(24, revision=1), state=values.EnforcementState.SHRINKING)

    resizing = says(ClaimCondition.RESIZING, facts(holdings=(holding(enforced=held),)))

    assert (resizing.status, resizing.reason) == (Status.UNKNOWN, Reason.DEFERRED)
    assert "still holds 24 GiB" in resizing.message


@pytest.mark.parametrize(
    ("slice_", "enforced", "reason"),
    [
        (make.slice_(wanted=make.amounts(24, 25)), make.enforced(16, revision=1), Reason.GROWING),
        (
            make.slice_(allocated=make.amounts(24, 25), revision=2),
            make.enforced(16, revision=1),
            Reason.GROWING,
        ),
        (make.slice_(held_gib=32, revision=2), make.enforced(32, revision=1), Reason.SHRINKING),
        (make.slice_(), make.enforced(16, revision=1), Reason.AT_TARGET),
    ],
)
def test_the_direction_of_a_resize_is_told_until_the_node_has_confirmed_it(
    slice_: values.Slice, enforced: values.Enforced, reason: Reason
) -> None:
    resizing = says(ClaimCondition.RESIZING, facts(holdings=(holding(slice_, enforced),)))

    assert resizing.reason is reason


def test_a_refused_edit_tells_what_is_kept_and_why_and_leaves_the_claim_ready() -> None:
    refusal = values.Refusal(reason=values.Reason.NO_FIT, message="the GPU has 4 GiB free")

    told = {each.type: each for each in claim_conditions.of(facts(refused_edit=refusal))}

    assert told[ClaimCondition.RESIZING].reason is Reason.DEFERRED
    assert told[ClaimCondition.READY].status is Status.TRUE
    assert told[ClaimCondition.READY].message == (
        "1 pod served; the edit waits and slices keep 16 GiB/25 % to 40 GiB/100 %: the GPU has 4 GiB free"
    )


def test_a_claim_being_deleted_names_the_pods_it_waits_for() -> None:
    ready = says(ClaimCondition.READY, facts(deleting=True, pods=(pod("a"), pod("b"))))

    assert (ready.status, ready.reason) == (Status.FALSE, Reason.DELETING)
    assert ready.message == "being deleted, waits for pods a, b to end"


@given(
    pool=st.sampled_from([None, make.pool(), make.pool(quotas={"team-a": TEAM_A}), make.pool(quotas={})]),
    holdings=st.sampled_from([(), (holding(),), (holding(enforced=None), holding())]),
    waits=st.booleans(),
    verdict=st.sampled_from(
        [
            choice.Placement(node="n", device_uuids=()),
            choice.NoFit(reasons={}),
            values.Refusal(reason=values.Reason.EXCEEDS_QUOTA, message="no"),
            values.Refusal(reason=values.Reason.POOL_NOT_FOUND, message="no"),
        ]
    ),
    deleting=st.booleans(),
)
def test_every_state_has_all_six_conditions_with_reasons_of_the_table(
    pool: values.Pool | None,
    holdings: tuple[Holding, ...],
    waits: bool,
    verdict: Any,
    deleting: bool,
) -> None:
    given_ = facts(
        pool=pool,
        holdings=holdings,
        waiting=(pod(),) if waits else (),
        verdict=verdict if waits else None,
        deleting=deleting,
    )

    told = claim_conditions.of(given_)  # a Condition refuses reasons that are not in the table

    assert [each.type for each in told] == list(ClaimCondition)
    assert all(each.message for each in told)


def test_growth_that_is_not_granted_says_why() -> None:
    refusal = values.Refusal(reason=values.Reason.NO_FIT, message="20 % more asked of GPU-0; it has 5 % free")
    wishing = replace(make.slice_(), wanted=make.amounts(16, 45))

    told = says(ClaimCondition.RESIZING, facts(holdings=(holding(wishing),), refused_growth=refusal))

    assert (told.status, told.reason) == (Status.UNKNOWN, Reason.DEFERRED)
    assert told.message == "growth waits: 20 % more asked of GPU-0; it has 5 % free"


def test_what_the_elastic_loop_came_to_is_told() -> None:
    outcome = outcomes.Outcome(
        scaling=outcomes.Told(reason=Reason.AT_MAX_REPLICAS, message="more than maxReplicas 4"),
        sizing=outcomes.Told(reason=Reason.METRICS_UNAVAILABLE, message="slices keep their size"),
    )

    limited = says(ClaimCondition.SCALING_LIMITED, facts(outcome=outcome))
    resizing = says(ClaimCondition.RESIZING, facts(outcome=outcome))

    assert (limited.status, limited.reason) == (Status.TRUE, Reason.AT_MAX_REPLICAS)
    assert (resizing.status, resizing.reason) == (Status.UNKNOWN, Reason.METRICS_UNAVAILABLE)


def test_a_claim_that_scales_says_when_no_loop_runs_or_none_has_looked() -> None:
    target = values.Target(api_version="apps/v1", kind="Deployment", name="llm")
    scaled = replace(CLAIM, scaling=values.Scaling(target=target, max_replicas=2))

    alone = says(ClaimCondition.SCALING_LIMITED, facts(claim=scaled))
    early = says(ClaimCondition.SCALING_LIMITED, facts(claim=scaled, loop_runs=True))

    assert (alone.reason, early.reason) == (Reason.METRICS_UNAVAILABLE, Reason.PENDING_EVALUATION)
    assert "--prometheus-url" in alone.message
