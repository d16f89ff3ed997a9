"""Short ways to write the manifests of tests, demo and benchmarks; every default is a plain, valid one."""

from collections.abc import Mapping, Sequence

from vgpu.api import names
from vgpu_e2e.gpunodes import GPU_PRODUCT_LABEL
from vgpu_e2e.rest import Object

IMAGE = "example.invalid/server:1"  # never pulled: hand-made nodes run nothing


def amounts(memory: str, compute: int) -> Object:
    """Return an amount of GPU as the API writes it."""
    return {"memory": memory, "computePercent": compute}


def quota(namespace: str, nominal: Object, borrowing: Object | None = None) -> Object:
    """Return one namespace's line of a pool's quotas."""
    line: Object = {"namespace": namespace, "nominal": nominal}
    return line if borrowing is None else {**line, "borrowingLimit": borrowing}


def pool(
    name: str = "a100",
    *,
    model: str = "NVIDIA-A100-SXM4-80GB",
    strategy: str = "BinPack",
    compute_overcommit: int = 200,
    quotas: Sequence[Object] | None = None,
    default: bool = True,
) -> Object:
    """Return a VGPUPool over the nodes with this GPU model."""
    spec: Object = {
        "nodeSelector": {"matchLabels": {GPU_PRODUCT_LABEL: model}},
        "overcommit": {"memoryPercent": 100, "computePercent": compute_overcommit},
        "placement": {"strategy": strategy},
    }
    if quotas is not None:
        spec["quotas"] = list(quotas)
    annotations = {names.DEFAULT_POOL_ANNOTATION: "true"} if default else {}
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.POOL_KIND,
        "metadata": {"name": name, "annotations": annotations},
        "spec": spec,
    }


def claim(
    name: str,
    namespace: str = "team-a",
    *,
    requests: Object | None = None,
    limits: Object | None = None,
    pool_name: str | None = None,
    device_count: int = 1,
    mode: str = "PerPod",
    priority: int = 0,
    **spec_fields: object,
) -> Object:
    """Return a VGPUClaim; limits default to the requests, extra spec fields are keywords."""
    floor = requests or amounts("16Gi", 25)
    spec: Object = {
        "deviceCount": device_count,
        "allocationMode": mode,
        "resources": {"requests": floor, "limits": limits or floor},
        "priority": priority,
        **spec_fields,
    }
    if pool_name is not None:
        spec["poolName"] = pool_name
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.CLAIM_KIND,
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }


def pod(
    name: str,
    claim_name: str,
    namespace: str = "team-a",
    *,
    annotations: Mapping[str, str] | None = None,
    **spec: object,
) -> Object:
    """Return a pod with the one label that a user adds; extra spec fields as keywords."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {names.CLAIM_LABEL: claim_name},
            "annotations": dict(annotations or {}),
        },
        "spec": {
            "containers": [{"name": "main", "image": IMAGE}],
            "terminationGracePeriodSeconds": 0,
            **spec,
        },
    }


def deployment(name: str, claim_name: str, namespace: str = "team-a", *, replicas: int = 1) -> Object:
    """Return a Deployment whose pods carry the claim's label."""
    labels = {"app": name, names.CLAIM_LABEL: claim_name}
    template = pod("unused", claim_name, namespace)
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": labels}, "spec": template["spec"]},
        },
    }


def namespace(name: str) -> Object:
    """Return a Namespace."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
