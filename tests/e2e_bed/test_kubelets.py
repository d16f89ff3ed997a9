"""A played kubelet reports a pod's containers as running, then as finished."""

import datetime

from vgpu_e2e import kubelets

NOW = datetime.datetime(2026, 3, 1, 12, tzinfo=datetime.UTC)
POD = {"spec": {"containers": [{"name": "a", "image": "x"}, {"name": "b", "image": "y"}]}}


def test_a_running_pod_is_ready_with_all_its_containers() -> None:
    status = kubelets.running_status(POD, now=NOW)

    assert status["phase"] == "Running"
    assert [(each["name"], each["ready"]) for each in status["containerStatuses"]] == [
        ("a", True),
        ("b", True),
    ]
    assert {each["type"] for each in status["conditions"] if each["status"] == "True"} >= {"Ready"}


def test_a_finished_pod_is_not_ready_and_says_it_ended_well() -> None:
    status = kubelets.succeeded_status(POD, now=NOW)

    assert status["phase"] == "Succeeded"
    assert all(each["state"]["terminated"]["exitCode"] == 0 for each in status["containerStatuses"])
    assert {each["type"]: each["status"] for each in status["conditions"]}["Ready"] == "False"
