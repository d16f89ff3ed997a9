"""What a labelled pod gets, as a pure function from pod to pod; what it may not have is in ``pod_rules``.

Applied to its own result it changes nothing, so other webhooks may run before, between and after.
Ephemeral containers are left alone: they join a running pod, after its slice was placed, and cannot mount
what the pod's other containers see by subPath. A policy keeps them away from devices instead.
"""

from collections.abc import Mapping

from vgpu import values
from vgpu.api import names, quantity
from vgpu_kube.objects import Object
from vgpu_webhooks.admission import shape

DIRECTORY = "/run/vgpu"
"""Where a container finds shim and limits page."""

PRELOAD = "/etc/ld.so.preload"
"""What makes the dynamic linker load the shim into every process."""

DEVICES_VARIABLE = "NVIDIA_VISIBLE_DEVICES"
"""What NVIDIA's container runtime reads; empty until the pod is bound, and empty means no device."""

VOLUME: Object = {"name": "vgpu", "csi": {"driver": names.CSI_DRIVER, "readOnly": True}}

# The agent mounts the directory `usage` below it writable by itself; readOnly here does not reach that.
DIRECTORY_MOUNT: Object = {"name": "vgpu", "mountPath": DIRECTORY, "readOnly": True}
PRELOAD_MOUNT: Object = {
    "name": "vgpu",
    "mountPath": PRELOAD,
    "subPath": "ld.so.preload",
    "readOnly": True,
}
MOUNTS = (DIRECTORY_MOUNT, PRELOAD_MOUNT)

GATE: Object = {"name": names.QUEUE_GATE}
"""Keeps kube-scheduler away until the queue has a place for the pod."""

# With apiVersion, as the API server defaults it: so what comes back compares equal.
DEVICES: Object = {
    "name": DEVICES_VARIABLE,
    "valueFrom": {
        "fieldRef": {"apiVersion": "v1", "fieldPath": f"metadata.annotations['{names.DEVICES_ANNOTATION}']"}
    },
}


def joined(pod: Object, claim: values.Claim) -> Object:
    """The pod with everything that joins it to a slice of ``claim``; ``pod`` itself is not changed.

    Expects a pod without objections. Raises shape.MalformedError where it is no pod at all.
    """
    spec = shape.mapping(pod, "spec")
    containers = shape.objects(spec, "containers")
    bearing = bearer(containers)
    changed = {
        **spec,
        "schedulerName": names.SCHEDULER_NAME,
        "schedulingGates": _with(shape.objects(spec, "schedulingGates"), GATE),
        "volumes": _with(shape.objects(spec, "volumes"), VOLUME),
        "containers": [
            _container(each, resources(claim) if index == bearing else {})
            for index, each in enumerate(containers)
        ],
    }
    if beginners := shape.objects(spec, "initContainers"):
        changed["initContainers"] = [_container(each, {}) for each in beginners]
    return {**pod, "spec": changed}


def resources(claim: values.Claim) -> dict[str, str]:
    """The extended resources one pod of ``claim`` requests, as totals over its GPUs.

    The marker brings the extender in. A pod with a slice of its own also requests its floor, so that quotas,
    preemption and cluster autoscalers see it; pods in a shared slice would count that several times.
    """
    marker = {names.SLICE_RESOURCE: "1"}
    if claim.mode is values.AllocationMode.SHARED:
        return marker
    mebibytes = -(-claim.requests.memory_bytes // values.MIB)
    return marker | {
        names.MEMORY_RESOURCE: quantity.format_count(mebibytes * claim.device_count),
        names.COMPUTE_RESOURCE: quantity.format_count(claim.requests.compute_percent * claim.device_count),
    }


def bearer(containers: list[Object]) -> int:
    """The index of the one container that bears the pod's resources.

    It is the first, or the one that already does: another webhook may since have put one before it.
    """
    return next((index for index, each in enumerate(containers) if own_resources(each)), 0)


def own_resources(container: Object) -> dict[str, object]:
    """The resources of ours that a container asks for, requests over limits."""
    asked = shape.mapping(container, "resources")
    named = {**shape.mapping(asked, "limits"), **shape.mapping(asked, "requests")}
    return {key: value for key, value in named.items() if key.startswith(f"{names.GROUP}/")}


def _container(container: Object, wanted: Mapping[str, str]) -> Object:
    changed = {
        **container,
        "env": _with(shape.objects(container, "env"), DEVICES),
        "volumeMounts": _with(shape.objects(container, "volumeMounts"), *MOUNTS),
    }
    if wanted:
        changed["resources"] = _asking(shape.mapping(container, "resources"), wanted)
    return changed


def _asking(asked: Object, wanted: Mapping[str, str]) -> Object:
    # Both, because the API server wants them equal for extended resources.
    return {
        **asked,
        "limits": {**shape.mapping(asked, "limits"), **wanted},
        "requests": {**shape.mapping(asked, "requests"), **wanted},
    }


def _with(items: list[Object], *needed: Object) -> list[Object]:
    return [*items, *(each for each in needed if each not in items)]
