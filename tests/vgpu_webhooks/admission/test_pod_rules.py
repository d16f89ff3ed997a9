from typing import Any

import pytest

import builders as make
from vgpu import values
from vgpu_webhooks.admission import pod_rules, pods, shape

CLAIM = values.Claim(
    ref=make.claim_ref(), pool_name="a100", requests=make.amounts(16, 25), limits=make.amounts(40, 100)
)


def pod(
    *,
    label: object = "llm",
    annotations: dict[str, str] | None = None,
    spec: dict[str, Any] | None = None,
    container: dict[str, Any] | None = None,
) -> dict[str, Any]:
    metadata = {"labels": {"vgpu.dev/claim": label}, "annotations": annotations or {}}
    return {
        "metadata": metadata,
        "spec": {"containers": [{"name": "c", **(container or {})}], **(spec or {})},
    }


def volume(**source: Any) -> dict[str, Any]:
    return {"spec": {"volumes": [{"name": "v", **source}]}}


def mounted_at(path: str) -> dict[str, Any]:
    return {"container": {"volumeMounts": [{"name": "v", "mountPath": path}]}}


def security(**context: Any) -> dict[str, Any]:
    return {"container": {"securityContext": context}}


@pytest.mark.parametrize(
    "fine",
    [
        {},
        {"annotations": {"example.com/a": "b", "vgpu.dev.example.com/a": "b"}},
        {"spec": {"schedulerName": "default-scheduler", "nodeName": ""}},
        {"spec": {"schedulerName": "vgpu-scheduler"}},
        volume(hostPath={"path": "/dev/shm"}),
        volume(hostPath={"path": "/data/models"}),
        volume(emptyDir={}),
        mounted_at("/run/vgpu-other"),
        mounted_at("/etc/ld.so.conf.d"),
        security(privileged=False, capabilities={"add": ["NET_ADMIN"], "drop": ["ALL"]}),
        {"container": {"resources": {"limits": {"cpu": "1"}, "requests": {"memory": "1Gi"}}}},
    ],
)
def test_an_ordinary_pod_is_admitted(fine: dict[str, Any]) -> None:
    assert pod_rules.objections(pod(**fine)) == []


def test_a_joined_pod_is_admitted_again() -> None:
    joined = pods.joined(pod(), CLAIM)

    assert pod_rules.objections(joined) == []
    assert pod_rules.resource_objections(joined, CLAIM) == []


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"label": "a" * 300}, "at most 63 letters"),
        ({"label": ""}, "expected the name of a VGPUClaim"),
        ({"label": "llm\n"}, "expected the name of a VGPUClaim"),
        ({"label": "no/slash"}, "found the text 'no/slash'"),
        ({"annotations": {"vgpu.dev/devices": "GPU-1"}}, "found the annotation 'vgpu.dev/devices'"),
        ({"annotations": {"vgpu.dev/anything": ""}}, "'vgpu.dev/anything'"),
        ({"annotations": {"cdi.k8s.io/x": "nvidia.com/gpu=all"}}, "injects devices beside the claim"),
        ({"spec": {"nodeName": "gpu-1"}}, "found spec.nodeName 'gpu-1'"),
        ({"spec": {"schedulerName": "volcano"}}, "found 'volcano'"),
        (volume(csi={"driver": "vgpu.dev"}), "in place of the platform's volume"),
        ({"spec": {"volumes": [{"name": "vgpu", "emptyDir": {}}]}}, "in place of the platform's volume"),
        (
            {"spec": {"volumes": [{**pods.VOLUME, "csi": {**pods.VOLUME["csi"], "volumeAttributes": {}}}]}},
            "in place of the platform's volume",
        ),
        (volume(hostPath={"path": "/"}), "found hostPath '/'"),
        (volume(hostPath={"path": "/dev"}), "found hostPath '/dev'"),
        (volume(hostPath={"path": "/dev/../dev/nvidia0"}), "reaches devices"),
        (volume(hostPath={"path": "/var/lib/kubelet/pods"}), "reaches devices"),
        (volume(hostPath={"path": "//dev//"}), "reaches devices"),
        ({"container": {"env": [{"name": "NVIDIA_VISIBLE_DEVICES", "value": "all"}]}}, "remove it"),
        (
            {"container": {"env": [pods.DEVICES, {"name": "NVIDIA_VISIBLE_DEVICES", "value": "all"}]}},
            "found NVIDIA_VISIBLE_DEVICES",
        ),
        (mounted_at("/run/vgpu"), "container 'c': found a mount at '/run/vgpu'"),
        (mounted_at("/run/vgpu/usage/"), "found a mount at"),
        (mounted_at("/run/../run/vgpu"), "found a mount at"),
        (mounted_at("/var/run/vgpu"), "found a mount at"),
        (mounted_at("run/vgpu"), "found a mount at"),
        (mounted_at("/etc/ld.so.preload"), "found a mount at"),
        (mounted_at("/var/run/nvidia-container-devices/all"), "asks for devices beside the claim"),
        ({"container": {"volumeDevices": [{"name": "v", "devicePath": "/run/vgpu"}]}}, "found a mount at"),
        (security(privileged=True), "found privileged: true"),
        (security(capabilities={"add": ["SYS_ADMIN"]}), "found the capability SYS_ADMIN"),
        (security(capabilities={"add": ["cap_sys_admin"]}), "found the capability"),
        (security(capabilities={"add": ["ALL"]}), "found the capability ALL"),
        (
            {"container": {"resources": {"limits": {"nvidia.com/gpu": "1"}}}},
            "'nvidia.com/gpu' beside the claim",
        ),
    ],
)
def test_what_leads_around_the_slice_is_refused_with_a_remedy(wrong: dict[str, Any], said: str) -> None:
    [sentence] = pod_rules.objections(pod(**wrong))

    assert said in sentence
    assert "; " in sentence, "what to do follows what was found"


def test_init_containers_are_held_to_the_same() -> None:
    privileged = {"name": "i", "securityContext": {"privileged": True}}

    [sentence] = pod_rules.objections(pod(spec={"initContainers": [privileged]}))

    assert "container 'i'" in sentence


@pytest.mark.parametrize(
    "own",
    [
        {"limits": {"vgpu.dev/slice": "2"}},
        {"limits": {"vgpu.dev/slice": "1"}},
        {"requests": {"vgpu.dev/memory-mib": "1"}},
        {"requests": {"vgpu.dev/compute-percent": 0}},
    ],
)
def test_a_pod_cannot_say_itself_how_much_it_gets(own: dict[str, Any]) -> None:
    [sentence] = pod_rules.resource_objections(pod(container={"resources": own}), CLAIM)

    assert "the claim 'llm' says how much" in sentence


def test_a_second_bearer_is_refused() -> None:
    joined = pods.joined(pod(), CLAIM)
    first = joined["spec"]["containers"][0]
    joined["spec"]["containers"].append({**first, "name": "again"})

    [sentence] = pod_rules.resource_objections(joined, CLAIM)

    assert "'again'" in sentence


def test_many_objections_make_a_short_message() -> None:
    message = pod_rules.summary([f"fault {number}" for number in range(500)])

    assert message == "fault 0; fault 1; fault 2; fault 3; fault 4; and 495 more"


@pytest.mark.parametrize(
    "garbage",
    [
        {"spec": []},
        {"metadata": 1},
        {"metadata": {"labels": []}},
        {"metadata": {"labels": {"vgpu.dev/claim": 3}}},
        {"spec": {"containers": {}}},
        {"spec": {"containers": [1]}},
        {"spec": {"containers": [{"env": [[]]}]}},
        {"spec": {"containers": [{"volumeMounts": [{"mountPath": 1}]}]}},
        {"spec": {"containers": [{"securityContext": "root"}]}},
        {"spec": {"containers": [{"resources": {"limits": []}}]}},
        {"spec": {"volumes": [{"csi": "vgpu.dev"}]}},
    ],
)
def test_what_is_no_pod_is_called_malformed(garbage: dict[str, Any]) -> None:
    with pytest.raises(shape.MalformedError, match="expected"):
        pod_rules.objections(garbage)
