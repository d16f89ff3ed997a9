"""The chart's manifests say what the code says: same names, paths and accounts."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from vgpu.api import names
from vgpu_webhooks.admission import app, pods

FILES = Path(__file__).parents[3] / "helm" / "vgpu" / "files"
WEBHOOK_LIMIT_SECONDS = 5


def load(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((FILES / name).read_text()))


def webhooks() -> list[dict[str, Any]]:
    return [each for document in load("webhooks.yaml") for each in document["webhooks"]]


def rules_of(role: str, file: str) -> list[dict[str, Any]]:
    [found] = [
        each for each in load(file) if each["kind"] == "ClusterRole" and each["metadata"]["name"] == role
    ]
    rules: list[dict[str, Any]] = found["rules"]
    return rules


def test_every_route_is_registered_for_its_resource() -> None:
    registered = {
        (
            each["clientConfig"]["service"]["path"],
            *each["rules"][0]["apiGroups"],
            *each["rules"][0]["resources"],
        )
        for each in webhooks()
    }

    assert registered == {(each.path, each.group, each.plural) for each in app.WEBHOOKS}


@pytest.mark.parametrize("webhook", webhooks(), ids=lambda each: each["name"])
def test_no_answer_means_no_and_comes_in_time(webhook: dict[str, Any]) -> None:
    assert webhook["failurePolicy"] == "Fail"
    assert webhook["sideEffects"] == "None"
    assert webhook["timeoutSeconds"] <= WEBHOOK_LIMIT_SECONDS


def constraints() -> dict[str, Any]:
    policies = [each for each in load("policies.yaml") if each["kind"] == "ValidatingAdmissionPolicy"]
    return {each["metadata"]["name"]: each["spec"]["matchConstraints"] for each in policies}


def doors(watched: Any) -> set[tuple[str, str]]:
    return {
        (operation, resource)
        for rule in watched["resourceRules"]
        for operation in rule["operations"]
        for resource in rule["resources"]
    }


def test_nobody_elses_pods_are_sent() -> None:
    about_pods = [each for each in webhooks() if each["rules"][0]["resources"] == ["pods"]]

    assert len(about_pods) == 2
    for each in about_pods:
        assert each["objectSelector"]["matchExpressions"] == [
            {"key": names.CLAIM_LABEL, "operator": "Exists"}
        ]
        assert each["namespaceSelector"]["matchExpressions"][0]["values"] == ["kube-system", "vgpu-system"]


def test_every_policy_is_bound_fails_closed_and_speaks() -> None:
    documents = load("policies.yaml")
    policies = [each for each in documents if each["kind"] == "ValidatingAdmissionPolicy"]
    bound = [each["spec"] for each in documents if each["kind"] == "ValidatingAdmissionPolicyBinding"]

    assert [each["policyName"] for each in bound] == [each["metadata"]["name"] for each in policies]
    assert all(each["validationActions"] == ["Deny"] for each in bound)
    for policy in policies:
        assert policy["spec"]["failurePolicy"] == "Fail"
        for rule in policy["spec"]["validations"]:
            assert "; " in rule["message"], "what to do follows what is the matter"


def test_every_door_to_a_pods_annotations_and_label_is_watched() -> None:
    watched = constraints()

    assert doors(watched["vgpu-marks"]) == {
        ("UPDATE", door) for door in ("pods", "pods/status", "pods/ephemeralcontainers", "pods/resize")
    }
    assert doors(watched["vgpu-marks-of-bindings"]) == {("CREATE", "pods/binding"), ("CREATE", "bindings")}
    assert "objectSelector" not in watched["vgpu-marks-of-bindings"], (
        "a Binding does not show its pod's label"
    )


def test_a_new_pod_meets_a_policy_with_the_label_or_without() -> None:
    operators = set()
    for name in ("vgpu-labelled-pods", "vgpu-unlabelled-pods"):
        assert doors(constraints()[name]) == {("CREATE", "pods")}
        operators |= {rule["operator"] for rule in constraints()[name]["objectSelector"]["matchExpressions"]}

    assert operators == {"Exists", "DoesNotExist"}


def test_pods_of_nobody_else_are_shown_to_policies_only_when_they_are_created() -> None:
    for name, watched in constraints().items():
        if ("UPDATE", "pods") in doors(watched):
            selected = watched["objectSelector"]["matchExpressions"]
            assert selected == [{"key": names.CLAIM_LABEL, "operator": "Exists"}], name


def test_the_policy_names_what_the_webhook_adds() -> None:
    text = (FILES / "policies.yaml").read_text()

    for said in (
        pods.DEVICES["valueFrom"]["fieldRef"]["fieldPath"],
        f"m.mountPath == '{pods.DIRECTORY}'",
        f"m.mountPath == '{pods.PRELOAD}'",
        f"v.csi.driver == '{names.CSI_DRIVER}'",
        f"== '{names.SCHEDULER_NAME}'",
        f"requests['{names.SLICE_RESOURCE}']",
    ):
        assert said in text


def test_the_volumes_driver_is_registered() -> None:
    [driver] = load("csidriver.yaml")

    assert driver["metadata"]["name"] == names.CSI_DRIVER
    assert driver["spec"]["podInfoOnMount"] is True


def test_admission_cannot_write_anything() -> None:
    verbs = {verb for rule in rules_of("vgpu-admission", "rbac-admission.yaml") for verb in rule["verbs"]}

    assert verbs == {"get", "list", "watch"}


@pytest.mark.parametrize("role", ["vgpu-claims-edit", "vgpu-claims-view", "vgpu-pools-view"])
def test_users_write_claims_and_nothing_else_of_ours(role: str) -> None:
    for rule in rules_of(role, "rbac-users.yaml"):
        writes = set(rule["verbs"]) - {"get", "list", "watch"}
        assert not writes or rule["resources"] == [names.CLAIM_PLURAL]
        assert names.NODE_PLURAL not in rule["resources"]


def test_an_agent_cannot_replace_or_delete_a_node() -> None:
    verbs = {verb for rule in rules_of("vgpu-agent", "rbac-agent.yaml") for verb in rule["verbs"]}

    assert verbs == {"get", "list", "watch", "create", "patch"}
