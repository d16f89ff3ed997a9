import json

import pytest

from town import Run, Town, add_claim, add_pool, condition
from vgpu.api import conditions, names
from vgpu_cli import advice
from vgpu_kube.resources import EVENTS, PODS


def _add_pod(town: Town, name: str = "llm-0", *, claim: str = "llm", bound: bool = True) -> None:
    container = {
        "name": "main",
        "resources": {"requests": {names.SLICE_RESOURCE: "1", "cpu": "2"}},
        "volumeMounts": [{"name": "vgpu", "mountPath": "/run/vgpu"}, {"name": "data", "mountPath": "/data"}],
        "env": [{"name": "NVIDIA_VISIBLE_DEVICES", "valueFrom": {"fieldRef": {"fieldPath": _DEVICES_PATH}}}],
    }
    placed = {names.DEVICES_ANNOTATION: "GPU-gpu-0-0", names.SLICE_ANNOTATION: "pod-llm"} if bound else {}
    spec = {
        "schedulerName": names.SCHEDULER_NAME,
        "schedulingGates": [] if bound else [{"name": names.QUEUE_GATE}],
        "containers": [container],
        "volumes": [{"name": "vgpu", "csi": {"driver": names.CSI_DRIVER}}, {"name": "data", "emptyDir": {}}],
        **({"nodeName": "gpu-0"} if bound else {}),
    }
    metadata = {"name": name, "labels": {names.CLAIM_LABEL: claim}, "annotations": placed}
    town.add(PODS, {"metadata": metadata, "spec": spec, "status": {"phase": "Running"}}, "team-a")


_DEVICES_PATH = f"metadata.annotations['{names.DEVICES_ANNOTATION}']"


def test_a_claims_answer_comes_first_then_conditions_quota_and_slices(run: Run, settled: Town) -> None:
    lines = run("explain", "claim", "llm").output.splitlines()

    assert lines[0].startswith("claim team-a/llm of pool a100: ready: 1 pod between")
    text = "\n".join(lines)
    assert "namespace team-a holds 40 GiB/60 % of its 80 GiB/100 % in pool a100" in text
    assert "SlicesReady" in text
    assert "not confirmed yet" in text


def test_a_waiting_claim_says_what_helps_why_it_waits_and_what_would_let_it_in(run: Run, town: Town) -> None:
    add_pool(town)
    waiting = {
        "podName": "big-0",
        "reason": "NoFit",
        "nodes": [
            {"count": 3, "message": "no GPU with 40 GiB memory free"},
            {"count": 1, "message": "cordoned"},
        ],
        "suggestions": [
            {"message": "8 GiB less per GPU", "changes": [{"type": "LessMemory", "memory": "32Gi"}]}
        ],
        "progress": "shares of 2 slices are on their way back",
    }
    add_claim(town, "big", "team-a", reason="NoFit", message="pod big-0 waits", waiting=waiting)

    answer = run("explain", "claim/big").output

    assert "What helps: wait for a release" in answer
    assert "3 nodes: no GPU with 40 GiB memory free" in answer
    assert "1 node: cordoned" in answer
    assert "What would let it in" in answer
    assert "8 GiB less per GPU" in answer
    assert "shares of 2 slices are on their way back" in answer


def test_the_last_decision_and_the_events_are_told(run: Run, town: Town) -> None:
    add_pool(town)
    message = "p99-latency-ms 243 > 200: compute 40 to 60"
    decision = {
        "time": "2026-01-01T11:58:00Z",
        "action": "Grow",
        "reason": "ObjectiveMissed",
        "message": message,
    }
    add_claim(town, "llm", "team-a", pods=1, lastDecision=decision)
    event = {
        "metadata": {"name": "llm.1"},
        "eventTime": "2026-01-01T11:59:00Z",
        "regarding": {"kind": "VGPUClaim", "namespace": "team-a", "name": "llm"},
        "type": "Normal",
        "reason": "Growing",
        "note": "slices on node gpu-0 grow",
        "series": {"count": 3, "lastObservedTime": "2026-01-01T11:59:30Z"},
    }
    town.add(EVENTS, event, "team-a")

    answer = run("explain", "llm").output

    assert f"Grow: ObjectiveMissed: {message}" in answer
    assert "slices on node gpu-0 grow (3 times)" in answer


def test_a_pods_story_lists_what_the_webhook_added_and_nothing_else(run: Run, settled: Town) -> None:
    _add_pod(settled)

    answer = run("explain", "pod", "llm-0").output

    assert answer.startswith("pod team-a/llm-0: Running on gpu-0 in a slice of team-a/llm")
    assert f"requests of container main: {names.SLICE_RESOURCE} 1" in answer
    assert "mounts in container main: /run/vgpu" in answer
    assert "/data" not in answer
    assert "NVIDIA_VISIBLE_DEVICES" in answer
    assert "claim team-a/llm of pool a100" in answer


def test_a_pod_in_the_queue_waits_for_what_its_claim_waits_for(run: Run, town: Town) -> None:
    add_pool(town)
    add_claim(town, "llm", "team-a", reason="NoFit", message="no device has room")
    _add_pod(town, bound=False)

    answer = json.loads(run("explain", "pod", "llm-0", "-o", "json").output)

    assert answer["answer"] == "waits: NoFit: no device has room"
    assert any("scheduling gate" in each for each in answer["added"])


def test_a_pod_whose_claim_is_missing_says_so(run: Run, town: Town) -> None:
    _add_pod(town, bound=False, claim="gone")

    assert "there is no claim gone" in run("explain", "llm-0").output


@pytest.mark.parametrize("words", [("claim", "nope"), ("pod", "nope"), ("nope",)])
def test_what_is_not_there_is_a_fault_in_words(run: Run, settled: Town, words: tuple[str, ...]) -> None:
    answer = run("explain", *words)

    assert answer.exit_code == 1
    assert "nope in namespace team-a, found none" in answer.output


def test_an_unknown_kind_is_wrong_usage(run: Run) -> None:
    assert run("explain", "node", "gpu-0").exit_code == 2


def test_advice_is_given_only_for_reasons_that_exist() -> None:
    known = {each.value for each in conditions.Reason}

    assert advice.ADVICE.keys() <= known


def test_every_reason_that_can_keep_a_claim_from_ready_has_advice() -> None:
    rules = conditions.CLAIM_TABLE[conditions.ClaimCondition.READY]

    assert {each.value for each in (*rules.false, *rules.unknown)} <= advice.ADVICE.keys()


def test_conditions_show_their_status_and_message(run: Run, town: Town) -> None:
    add_pool(town)
    said = [condition("Ready", "Unknown", "WaitingForAgent", "limits not confirmed yet by node gpu-0")]
    add_claim(town, "llm", "team-a", conditions=said)

    assert "limits not confirmed yet by node gpu-0" in run("explain", "llm").output
