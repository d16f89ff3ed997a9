"""Manifests in HAMi's vocabulary, and the claims that they become."""

from typing import Any

import jsonpatch
import orjson
import pytest
import yaml

from vgpu import values
from vgpu.api import claim as claim_api
from vgpu_kube.testing import Cluster
from vgpu_webhooks.admission import answers, fit, hami
from vgpu_webhooks.admission.review import Review, Verdict
from vgpu_webhooks.admission.view import ClusterView

GIB = 2**30
CARDS = [
    fit.Kind(values.Amounts(memory_bytes=80 * GIB, compute_percent=100), "NVIDIA A100-SXM4-80GB"),
    fit.Kind(values.Amounts(memory_bytes=24 * GIB, compute_percent=100), "NVIDIA L4"),
]

# As in HAMi's own examples: a share of a card by memory and cores, with a choice of cards.
SHARE = """
metadata:
  name: gpu-pod
  annotations: {nvidia.com/use-gputype: "A100,H100", hami.io/gpu-scheduler-policy: binpack}
spec:
  schedulerName: hami-scheduler
  containers:
    - name: main
      resources:
        limits: {nvidia.com/gpu: 1, nvidia.com/gpumem: 8000, nvidia.com/gpucores: 30, cpu: 2}
"""


def pod(limits: dict[str, Any], **annotations: str) -> dict[str, Any]:
    containers = [{"name": "main", "resources": {"limits": limits}}]
    about = {"name": "p", "annotations": dict(annotations)}
    return {"metadata": about, "spec": {"containers": containers}}


def spec_of(found: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = orjson.loads(found["metadata"]["annotations"][hami.ANNOTATION])
    return spec


def claimed(limits: dict[str, Any], annotations: dict[str, str] | None = None) -> dict[str, Any]:
    return spec_of(hami.translated(pod(limits, **(annotations or {})), CARDS).pod)


async def asked(followed: ClusterView, answer: answers.Answer, found: dict[str, Any]) -> Verdict:
    asked = Review(uid="u", creates=True, namespace="team-a", object=found, old_object={})
    return await answers.decide(answer, followed, asked)


def test_a_share_of_a_card_becomes_a_claim_for_as_much() -> None:
    found = hami.translated(yaml.safe_load(SHARE), CARDS)

    spec = spec_of(found.pod)
    assert spec["resources"]["requests"] == {"memory": "8000Mi", "computePercent": 30}
    assert spec["resources"]["limits"] == {"computePercent": 30}
    assert spec["deviceSelector"]["matchExpressions"] == [
        {"key": "model", "operator": "In", "values": ["*A100*", "*H100*"]}
    ]
    assert "exclusive" not in spec


def test_what_hami_knew_of_the_pod_is_gone_and_the_rest_stays() -> None:
    found = hami.translated(yaml.safe_load(SHARE), CARDS).pod

    assert found["spec"]["containers"][0]["resources"]["limits"] == {"cpu": 2}
    assert "schedulerName" not in found["spec"]
    assert found["metadata"]["labels"]["vgpu.dev/claim"].startswith("hami-gpu-pod-")


@pytest.mark.parametrize(
    ("limits", "requests", "ceiling", "exclusive"),
    [
        ({hami.COUNT: 2}, {"memory": "24576Mi", "computePercent": 100}, 100, True),
        ({hami.COUNT: 1, hami.MEMORY: 3000}, {"memory": "3000Mi", "computePercent": 10}, 100, False),
        ({hami.MEMORY: "3000", hami.CORES: "0"}, {"memory": "3000Mi", "computePercent": 10}, 100, False),
        ({hami.MEMORY: "8k"}, {"memory": "8000Mi", "computePercent": 10}, 100, False),
        ({hami.COUNT: 1, hami.PERCENT: 50}, {"memory": "12288Mi", "computePercent": 10}, 100, False),
        (
            {hami.COUNT: 1, hami.MEMORY: 3000, hami.CORES: 100},
            {"memory": "3000Mi", "computePercent": 100},
            100,
            True,
        ),
    ],
)
def test_amounts_mean_what_they_mean_to_hami(
    limits: dict[str, Any], requests: dict[str, Any], ceiling: int, exclusive: bool
) -> None:
    spec = claimed(limits)

    assert spec["resources"]["requests"] == requests
    assert spec["resources"]["limits"]["computePercent"] == ceiling
    assert spec.get("exclusive", False) is exclusive
    assert spec["deviceCount"] == limits.get(hami.COUNT, 1)


def test_a_whole_card_may_be_any_of_those_that_are_accepted() -> None:
    spec = claimed({hami.COUNT: 1}, {"nvidia.com/nouse-gputype": "L4"})

    assert spec["resources"]["requests"]["memory"] == "81920Mi"


def test_capitals_of_a_model_do_not_matter_as_with_hami() -> None:
    spec = claimed({hami.COUNT: 1}, {"nvidia.com/use-gputype": "a100"})

    assert spec["resources"]["requests"]["memory"] == "81920Mi"
    assert spec["deviceSelector"]["matchExpressions"][0]["values"] == ["*a100*", "NVIDIA A100-SXM4-80GB"]


def test_annotations_choose_cards_nodes_and_rank() -> None:
    spec = claimed(
        {hami.COUNT: 2, hami.MEMORY: 1000, hami.PRIORITY: 0},
        {
            "nvidia.com/use-gpuuuid": "GPU-1, GPU-2",
            "nvidia.com/numa-bind": "true",
            "hami.io/gpu-scheduler-policy": "mutex",
        },
    )

    assert spec["deviceSelector"]["matchExpressions"] == [
        {"key": "uuid", "operator": "In", "values": ["GPU-1", "GPU-2"]}
    ]
    assert spec["topology"] == {"numa": "Required"}
    assert spec["priority"] == 1
    assert spec["exclusive"] is True


def test_what_has_no_meaning_is_said() -> None:
    found = hami.translated(pod({hami.MEMORY: 1}, **{"hami.io/node-scheduler-policy": "spread"}), CARDS)

    assert found.warnings == (
        "hami.io/node-scheduler-policy has no meaning here; the pool's placement.strategy decides",
    )


@pytest.mark.parametrize(
    ("limits", "annotations", "said"),
    [
        ({hami.MEMORY: "8Gi"}, {}, "expected a whole number from 1 to 1073741824 in nvidia.com/gpumem"),
        ({hami.COUNT: 0}, {}, "expected a whole number from 1 to 64 in nvidia.com/gpu, found the number '0'"),
        ({hami.CORES: 101}, {}, "expected a whole number from 0 to 100 in nvidia.com/gpucores"),
        ({hami.MEMORY: 1}, {"nvidia.com/vgpu-mode": "mig"}, "found nvidia.com/vgpu-mode: mig"),
        ({hami.MEMORY: 1}, {"nvidia.com/nouse-gpuuuid": "GPU-1," * 33}, "expected at most 32 cards"),
        ({hami.COUNT: 1}, {"nvidia.com/use-gputype": "B200"}, "expected nvidia.com/gpumem, or cards"),
    ],
)
def test_what_cannot_be_said_by_a_claim_is_refused(
    limits: dict[str, Any], annotations: dict[str, str], said: str
) -> None:
    with pytest.raises(hami.UntranslatableError, match=said):
        claimed(limits, annotations)


def test_two_containers_with_cards_of_their_own_are_refused() -> None:
    found = pod({hami.COUNT: 1})
    found["spec"]["containers"].append({"name": "b", "resources": {"limits": {hami.COUNT: 1}}})

    with pytest.raises(hami.UntranslatableError, match="in one container of the pod, found 2"):
        hami.translated(found, CARDS)


def test_pods_of_one_owner_share_a_claim_until_they_ask_for_something_else() -> None:
    owner = {"kind": "ReplicaSet", "name": "llm-5d4", "uid": "u", "controller": True}

    def name(memory: int, **about: Any) -> str:
        found = pod({hami.MEMORY: memory})
        found["metadata"] = {"generateName": "llm-5d4-", "ownerReferences": [owner], **about}
        labels: dict[str, str] = hami.translated(found, CARDS).pod["metadata"]["labels"]
        return labels["vgpu.dev/claim"]

    assert name(1000) == name(1000)
    assert name(1000) != name(2000)
    assert name(1000).startswith("hami-llm-5d4-")
    assert len(name(1000, ownerReferences=[], name="x" * 253)) <= 63


async def test_the_pod_is_joined_to_a_claim_that_is_still_to_come(
    cluster: Cluster, followed: ClusterView
) -> None:
    found = pod({hami.COUNT: 1, hami.MEMORY: 8000, hami.CORES: 30})
    verdict = await asked(followed, answers.mutate_hami_pod, found)
    joined: dict[str, Any] = jsonpatch.apply_patch(found, [*verdict.patch])

    assert (await asked(followed, answers.validate_pod, joined)).allowed
    assert joined["spec"]["schedulerName"] == "vgpu-scheduler"
    assert joined["spec"]["containers"][0]["resources"]["requests"]["vgpu.dev/memory-mib"] == "8k"
    promised = hami.promised(joined, "team-a")
    assert promised is not None
    assert claim_api.to_values(promised).requests.compute_percent == 30


async def test_a_forged_note_promises_nothing(followed: ClusterView) -> None:
    found = pod({})
    found["metadata"] |= {"labels": {"vgpu.dev/claim": "mine"}, "annotations": {hami.ANNOTATION: "{}"}}

    verdict = await asked(followed, answers.validate_pod, found)

    assert not verdict.allowed
    assert "expected a VGPUClaim 'mine'" in str(verdict.message)
