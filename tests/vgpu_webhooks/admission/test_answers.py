from typing import Any

import jsonpatch
import pytest

from vgpu_kube import errors
from vgpu_kube.resources import VGPU_CLAIMS, VGPU_POOLS
from vgpu_kube.testing import Cluster, settle
from vgpu_webhooks.admission import answers
from vgpu_webhooks.admission.review import Review, Verdict
from vgpu_webhooks.admission.view import ClusterView

FLOOR = {"memory": "16Gi", "computePercent": 25}


def review(found: dict[str, Any], *, old: dict[str, Any] | None = None) -> Review:
    return Review(uid="u1", creates=old is None, namespace="team-a", object=found, old_object=old or {})


def pod(label: str = "llm") -> dict[str, Any]:
    return {"metadata": {"labels": {"vgpu.dev/claim": label}}, "spec": {"containers": [{"name": "c"}]}}


def claim(name: str = "new", *, resources: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": "team-a"},
        "spec": {"resources": resources or {"requests": FLOOR}, **spec},
    }


def pool(name: str = "h200", *, default: bool = False) -> dict[str, Any]:
    annotations = {"vgpu.dev/is-default-pool": "true"} if default else {}
    return {
        "metadata": {"name": name, "annotations": annotations},
        "spec": {"nodeSelector": {"matchLabels": {"gpu": name}}},
    }


async def decided(answer: answers.Answer, followed: ClusterView, asked: Review) -> Verdict:
    return await answers.decide(answer, followed, asked)


async def joined(followed: ClusterView, found: dict[str, Any]) -> dict[str, Any]:
    verdict = await decided(answers.mutate_pod, followed, review(found))
    patched: dict[str, Any] = jsonpatch.apply_patch(found, [*verdict.patch])
    return patched


async def test_a_labelled_pod_is_joined_and_then_valid(followed: ClusterView) -> None:
    found = await joined(followed, pod())

    verdict = await decided(answers.validate_pod, followed, review(found))

    assert found["spec"]["schedulerName"] == "vgpu-scheduler"
    assert verdict.allowed


async def test_a_pod_that_lost_what_joins_it_is_refused(followed: ClusterView) -> None:
    found = await joined(followed, pod())
    found["spec"]["containers"][0]["env"] = []

    verdict = await decided(answers.validate_pod, followed, review(found))

    assert not verdict.allowed
    assert "taken away at /spec/containers/0/env/0" in verdict.message


async def test_a_label_without_a_claim_is_refused_with_name_and_remedy(followed: ClusterView) -> None:
    verdict = await decided(answers.mutate_pod, followed, review(pod("nope")))

    assert not verdict.allowed
    assert verdict.message == (
        "expected a VGPUClaim 'nope' in namespace 'team-a', as the label vgpu.dev/claim says, found none; "
        "create the claim or correct the label"
    )


async def test_a_claim_on_its_way_out_takes_no_new_pods(cluster: Cluster, followed: ClusterView) -> None:
    leaving = claim("leaving", poolName="a100")
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    cluster.add(VGPU_CLAIMS, leaving)

    verdict = await decided(answers.mutate_pod, followed, review(pod("leaving")))

    assert "being deleted" in verdict.message


async def test_a_pod_whose_claims_pool_is_gone_is_refused(cluster: Cluster, followed: ClusterView) -> None:
    cluster.add(VGPU_CLAIMS, claim("lost", poolName="gone"))

    verdict = await decided(answers.mutate_pod, followed, review(pod("lost")))

    assert "expected a VGPUPool 'gone', as VGPUClaim 'lost' says, found a100" in verdict.message


async def test_objections_come_before_any_question_to_the_cluster(followed: ClusterView) -> None:
    found = pod("nope")
    found["spec"]["nodeName"] = "gpu-0"

    verdict = await decided(answers.mutate_pod, followed, review(found))

    assert "spec.nodeName" in verdict.message


async def test_a_pod_that_names_its_own_amount_is_refused(followed: ClusterView) -> None:
    found = pod()
    found["spec"]["containers"][0]["resources"] = {"limits": {"vgpu.dev/memory-mib": "1"}}

    verdict = await decided(answers.mutate_pod, followed, review(found))

    assert "the claim 'llm' says how much" in verdict.message


async def test_garbage_is_a_bad_request(followed: ClusterView) -> None:
    verdict = await decided(
        answers.mutate_pod, followed, review({"metadata": {"labels": {"vgpu.dev/claim": "llm"}}, "spec": []})
    )

    assert (verdict.allowed, verdict.code) == (False, 400)


async def test_a_silent_api_server_is_a_no_that_asks_to_come_back(
    cluster: Cluster, followed: ClusterView
) -> None:
    cluster.fail_next(errors.Unavailable(0, "ClientConnectorError", "connection refused"))

    verdict = await decided(answers.mutate_pod, followed, review(pod("unseen")))

    assert (verdict.allowed, verdict.code) == (False, 503)
    assert "try again" in verdict.message


async def test_a_claim_without_a_pool_gets_the_default_one(followed: ClusterView) -> None:
    verdict = await decided(answers.default_claim, followed, review(claim()))

    assert verdict.patch == [{"op": "add", "path": "/spec/poolName", "value": "a100"}]


async def test_a_claim_that_loses_its_pool_in_an_edit_keeps_it(followed: ClusterView) -> None:
    verdict = await decided(answers.default_claim, followed, review(claim(), old=claim(poolName="h200")))

    assert verdict.patch == [{"op": "add", "path": "/spec/poolName", "value": "h200"}]


@pytest.mark.parametrize("found", [claim(poolName="x"), {"metadata": {}}, {"spec": []}])
async def test_what_names_a_pool_or_is_no_claim_is_not_defaulted(
    followed: ClusterView, found: dict[str, Any]
) -> None:
    verdict = await decided(answers.default_claim, followed, review(found))

    assert verdict == Verdict(allowed=True)


async def test_without_any_default_pool_the_claim_has_to_name_one(cluster: Cluster) -> None:
    empty = ClusterView(Cluster())

    defaulted = await decided(answers.default_claim, empty, review(claim()))
    verdict = await decided(answers.validate_claim, empty, review(claim()))

    assert defaulted.patch == ()
    assert "expected spec.poolName in VGPUClaim 'new' or a default pool, found neither" in verdict.message


async def test_a_claim_of_an_unknown_pool_is_refused(followed: ClusterView) -> None:
    verdict = await decided(answers.validate_claim, followed, review(claim(poolName="zz")))

    assert "expected a VGPUPool 'zz', as VGPUClaim 'new' says, found a100; name one" in verdict.message


async def test_a_claim_larger_than_the_largest_device_is_refused(followed: ClusterView) -> None:
    requests = {"requests": {"memory": "81Gi", "computePercent": 1}}

    verdict = await decided(
        answers.validate_claim, followed, review(claim(poolName="a100", resources=requests))
    )

    assert "largest device of pool 'a100' (80 GiB/100 %), found 81 GiB" in verdict.message


async def test_a_claim_with_limits_below_its_requests_is_refused(followed: ClusterView) -> None:
    upside_down = {"requests": FLOOR, "limits": {"memory": "1Gi"}}

    verdict = await decided(
        answers.validate_claim, followed, review(claim(poolName="a100", resources=upside_down))
    )

    assert "spec.resources.limits: expected at least 16Gi/25%, found" in verdict.message


@pytest.mark.parametrize(
    "resources",
    [
        {"requests": {"memory": "0", "computePercent": 25}},
        {"requests": {"memory": "-1Gi", "computePercent": 25}},
        {"requests": {"memory": "16Gigs", "computePercent": 25}},
        {"requests": {"memory": "16Gi", "computePercent": 0}},
        {"requests": {"memory": "16Gi", "computePercent": 101}},
        {"requests": []},
    ],
)
async def test_amounts_that_are_none_are_bad_requests(
    followed: ClusterView, resources: dict[str, Any]
) -> None:
    verdict = await decided(
        answers.validate_claim, followed, review(claim(poolName="a100", resources=resources))
    )

    assert (verdict.allowed, verdict.code) == (False, 400)
    assert "VGPUClaim new: spec.resources.requests" in verdict.message


async def test_a_ceiling_out_of_reach_is_allowed_with_a_warning(followed: ClusterView) -> None:
    resources = {"requests": FLOOR, "limits": {"memory": "100Gi"}}

    verdict = await decided(
        answers.validate_claim, followed, review(claim(poolName="a100", resources=resources))
    )

    assert verdict.allowed
    assert "will not grow beyond" in verdict.warnings[0]


async def test_an_edit_that_leaves_the_spec_alone_passes_without_its_pool(followed: ClusterView) -> None:
    old = claim(poolName="gone")
    edited = {**old, "metadata": {**old["metadata"], "finalizers": []}}

    assert (await decided(answers.validate_claim, followed, review(edited, old=old))).allowed


async def test_a_claim_on_its_way_out_may_be_edited(followed: ClusterView) -> None:
    leaving = claim(poolName="gone")
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"

    verdicts = [
        await decided(answer, followed, review(leaving, old=claim()))
        for answer in (answers.validate_claim, answers.default_claim)
    ]

    assert all(verdict == Verdict(allowed=True) for verdict in verdicts)


async def test_a_pool_without_nodes_is_allowed_with_a_warning(followed: ClusterView) -> None:
    verdict = await decided(answers.validate_pool, followed, review(pool()))

    assert verdict == Verdict(
        allowed=True, warnings=["pool 'h200' has no devices yet; pods will wait for them"]
    )


async def test_a_second_default_pool_is_refused(followed: ClusterView) -> None:
    verdict = await decided(answers.validate_pool, followed, review(pool(default=True)))

    assert "found 'a100' to be it already" in verdict.message


async def test_the_default_pool_may_be_handed_on(cluster: Cluster, followed: ClusterView) -> None:
    taken = await decided(
        answers.validate_pool, followed, review(pool("a100"), old=pool("a100", default=True))
    )
    await cluster.patch_merge(
        VGPU_POOLS, "a100", {"metadata": {"annotations": {"vgpu.dev/is-default-pool": None}}}
    )
    await settle()

    given = await decided(answers.validate_pool, followed, review(pool(default=True), old=pool()))

    assert taken.allowed
    assert given.allowed
