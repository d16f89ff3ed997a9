import copy
from dataclasses import replace
from typing import Any

import jsonpatch
import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

import builders as make
from vgpu import values
from vgpu_webhooks.admission import patch, pods

CLAIM = values.Claim(
    ref=make.claim_ref(), pool_name="a100", requests=make.amounts(16, 25), limits=make.amounts(40, 100)
)
VARIABLE = {
    "name": "NVIDIA_VISIBLE_DEVICES",
    "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.annotations['vgpu.dev/devices']"}},
}

containers = st.fixed_dictionaries(
    {"name": st.text(max_size=3)},
    optional={
        "env": st.lists(
            st.fixed_dictionaries({"name": st.just("A"), "value": st.text(max_size=3)}), max_size=2
        ),
        "volumeMounts": st.none() | st.lists(st.just({"name": "d", "mountPath": "/data"}), max_size=2),
        "resources": st.just({}) | st.just({"limits": {"cpu": "1"}}),
    },
)
some_pods = st.fixed_dictionaries(
    {
        "metadata": st.just({"labels": {"vgpu.dev/claim": "llm"}}),
        "spec": st.fixed_dictionaries(
            {"containers": st.lists(containers, min_size=1, max_size=3)},
            optional={
                "initContainers": st.lists(containers, max_size=2),
                "volumes": st.lists(st.just({"name": "d", "emptyDir": {}}), max_size=2),
                "schedulerName": st.just("default-scheduler"),
            },
        ),
    }
)


def pod(*names: str, **spec: Any) -> dict[str, Any]:
    listed = [{"name": name, "image": "x"} for name in names or ("main",)]
    return {"metadata": {"labels": {"vgpu.dev/claim": "llm"}}, "spec": {"containers": listed, **spec}}


def test_gates_of_others_stay_beside_ours() -> None:
    gates = [{"name": "kueue.x-k8s.io/admission"}]

    joined = pods.joined(pod(schedulingGates=gates), CLAIM)["spec"]

    assert joined["schedulingGates"] == [*gates, {"name": "vgpu.dev/queue"}]


def test_every_container_sees_the_slice_and_one_bears_its_resources() -> None:
    joined = pods.joined(pod("a", "b", initContainers=[{"name": "i"}]), CLAIM)["spec"]

    assert joined["schedulerName"] == "vgpu-scheduler"
    assert joined["schedulingGates"] == [{"name": "vgpu.dev/queue"}]
    assert joined["volumes"] == [{"name": "vgpu", "csi": {"driver": "vgpu.dev", "readOnly": True}}]
    for container in [*joined["containers"], *joined["initContainers"]]:
        assert container["env"] == [VARIABLE]
        assert [each["mountPath"] for each in container["volumeMounts"]] == [
            "/run/vgpu",
            "/etc/ld.so.preload",
        ]
    wanted = {"vgpu.dev/slice": "1", "vgpu.dev/memory-mib": "16384", "vgpu.dev/compute-percent": "25"}
    assert joined["containers"][0]["resources"] == {"limits": wanted, "requests": wanted}
    assert [each.get("resources") for each in [*joined["containers"][1:], *joined["initContainers"]]] == [
        None,
        None,
    ]


def test_resources_are_totals_over_the_gpus_in_whole_mebibytes() -> None:
    floor = values.Amounts(memory_bytes=values.MIB + 1, compute_percent=30)

    assert pods.resources(replace(CLAIM, requests=floor, device_count=4)) == {
        "vgpu.dev/slice": "1",
        "vgpu.dev/memory-mib": "8",
        "vgpu.dev/compute-percent": "120",
    }


def test_pods_of_a_shared_slice_request_the_marker_only() -> None:
    shared = replace(CLAIM, mode=values.AllocationMode.SHARED)

    assert pods.resources(shared) == {"vgpu.dev/slice": "1"}


def test_resources_are_written_as_the_api_server_stores_them() -> None:
    asked = values.Amounts(memory_bytes=8000 * values.MIB, compute_percent=50)

    found = pods.resources(replace(CLAIM, requests=asked, device_count=20))

    assert found["vgpu.dev/memory-mib"] == "160k"
    assert found["vgpu.dev/compute-percent"] == "1k"


def test_other_resources_stay() -> None:
    asking = pod()
    asking["spec"]["containers"][0]["resources"] = {"limits": {"cpu": "2"}, "claims": [{"name": "c"}]}

    found = pods.joined(asking, CLAIM)["spec"]["containers"][0]["resources"]

    assert found["limits"]["cpu"] == "2"
    assert found["claims"] == [{"name": "c"}]


def test_a_container_put_before_the_bearer_does_not_become_a_second_one() -> None:
    once = pods.joined(pod("main"), CLAIM)
    once["spec"]["containers"].insert(0, {"name": "sidecar", "image": "x"})

    found = pods.joined(once, CLAIM)["spec"]["containers"]

    assert pods.own_resources(found[0]) == {}
    assert pods.own_resources(found[1]) == pods.resources(CLAIM)
    assert found[0]["env"] == [VARIABLE]


@settings(deadline=None)
@given(some_pods)
def test_joining_twice_is_joining_once(some: dict[str, Any]) -> None:
    once = pods.joined(some, CLAIM)

    assert pods.joined(once, CLAIM) == once
    assert patch.between(once, pods.joined(once, CLAIM)) == []


@settings(deadline=None)
@given(some_pods)
def test_joining_changes_nothing_in_place_and_its_patch_says_all(some: dict[str, Any]) -> None:
    some = orjson.loads(orjson.dumps(some))  # as from the wire: no part stands in two places
    before = copy.deepcopy(some)
    joined = pods.joined(some, CLAIM)

    assert some == before
    assert jsonpatch.apply_patch(some, patch.between(some, joined)) == joined
