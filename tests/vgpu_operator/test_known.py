"""What the operator reads out of the cluster's objects."""

from typing import Any

from vgpu_operator import known


def raw_pod(**status: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "name": "pod-0",
            "namespace": "team-a",
            "uid": "u",
            "labels": {"vgpu.dev/claim": "llm"},
            "creationTimestamp": "2026-01-01T00:00:10Z",
        },
        "status": status,
    }


def test_a_pod_is_known_by_its_claim_and_its_age() -> None:
    pod = known.pod(raw_pod())

    assert (pod.ref.name, pod.ref.uid, pod.namespace, pod.claim_name) == ("pod-0", "u", "team-a", "llm")
    assert pod.created_at == 1767225610.0
    assert (pod.finished, pod.deleting, pod.saying) == (False, False, "")


def test_a_pod_that_ran_to_its_end_is_finished_however_it_ended() -> None:
    phases = ("Pending", "Running", "Succeeded", "Failed")

    assert [known.pod(raw_pod(phase=phase)).finished for phase in phases] == [False, False, True, True]


def test_what_the_scheduler_says_of_a_pod_is_kept_and_cut() -> None:
    said = {"type": "PodScheduled", "status": "False", "message": "0/3 nodes " * 100}
    placed = {"type": "PodScheduled", "status": "True", "message": "unimportant"}

    assert len(known.pod(raw_pod(conditions=[said])).saying) == known.SAYING_LENGTH
    assert known.pod(raw_pod(conditions=[placed])).saying == ""


def test_a_status_answers_its_newest_condition() -> None:
    status = {"conditions": [{"observedGeneration": 2}, {"observedGeneration": 3}, {}]}

    assert known.observed_generation(status) == 3
    assert known.observed_generation({}) == -1
