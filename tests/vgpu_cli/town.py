"""A small cluster in memory, as the tests of the command line build it."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from click.testing import Result

from vgpu.api import names
from vgpu_cli.checks import kinds
from vgpu_kube import errors
from vgpu_kube.objects import Object
from vgpu_kube.protocol import DEFAULT_TIMEOUT
from vgpu_kube.resources import VGPU_CLAIMS, VGPU_NODES, VGPU_POOLS, Resource
from vgpu_kube.testing import Cluster

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
A100 = "NVIDIA-A100-SXM4-80GB"


Run = Callable[..., Result]
"""Runs the command line with these words."""


class Town(Cluster):
    """The in-memory cluster, with what only commands ask for: rehearsals and texts."""

    def __init__(self) -> None:
        self.now = NOW
        super().__init__(now=lambda: self.now)
        self.texts: dict[str, str] = {"/version": '{"gitVersion": "v1.36.4"}'}
        self.rehearsed: list[tuple[Resource, Object]] = []
        self.refuse_rehearsals: errors.KubeError | None = None
        self.denied: set[tuple[str, str, str]] = set()  # account, verb, resource

    async def create(
        self,
        resource: Resource,
        body: Object,
        namespace: str | None = None,
        *,
        timeout: float = DEFAULT_TIMEOUT,  # noqa: ASYNC109 -- part of the interface
    ) -> Object:
        if resource != kinds.ACCESS_REVIEWS:
            return await super().create(resource, body, namespace, timeout=timeout)
        asked, account = body["spec"]["resourceAttributes"], body["spec"]["user"].rsplit(":", 1)[-1]
        return {"status": {"allowed": (account, asked["verb"], asked["resource"]) not in self.denied}}

    async def rehearse(self, resource: Resource, body: Object, namespace: str | None = None) -> Object:
        self.rehearsed.append((resource, body))
        if self.refuse_rehearsals is not None:
            raise self.refuse_rehearsals
        return body

    async def rehearse_patch(
        self, resource: Resource, name: str, patch: Mapping[str, Any], namespace: str | None = None
    ) -> Object:
        self.rehearsed.append((resource, {**patch}))
        if self.refuse_rehearsals is not None:
            raise self.refuse_rehearsals
        return await self.get(resource, name, namespace)

    async def text(self, path: str) -> str:
        try:
            return self.texts[path]
        except KeyError:
            raise errors.NotFound(404, "NotFound", f"{path} not found") from None


def condition(kind: str, status: str, reason: str, message: str = "") -> Object:
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": "2026-01-01T11:00:00Z",
    }


def amounts(memory: str, compute: int) -> Object:
    return {"memory": memory, "computePercent": compute}


def add_pool(town: Town, name: str = "a100", **status: Any) -> Object:
    quota = {"namespace": "team-a", "nominal": amounts("80Gi", 100)}
    spec = {
        "nodeSelector": {"matchLabels": {"gpu": "a100"}},
        "overcommit": {"memoryPercent": 100, "computePercent": 100},
        "quotas": [quota],
    }
    said = {
        "nodeCount": 2,
        "deviceCount": 4,
        "claims": {"bound": 1, "pending": 1},
        "capacity": amounts("320Gi", 400),
        "allocated": amounts("40Gi", 60),
        "quotas": [{"namespace": "team-a", "used": amounts("40Gi", 60), "borrowed": amounts("0", 0)}],
        "conditions": [
            condition("Ready", "True", "DevicesReady"),
            condition("InventoryCurrent", "True", "AgentsReporting"),
        ],
    }
    metadata = {"name": name, "annotations": {names.DEFAULT_POOL_ANNOTATION: "true"}}
    return town.add(VGPU_POOLS, {"metadata": metadata, "spec": spec, "status": {**said, **status}})


def add_node(town: Town, name: str, *, heartbeat: str = "2026-01-01T11:59:30Z") -> Object:
    devices = [
        {
            "uuid": f"GPU-{name}-{index}",
            "index": index,
            "vendor": "nvidia",
            "model": A100,
            "memory": "80Gi",
            "healthy": True,
            "isolation": {"memory": "Hard", "compute": "TimeShare", "resize": "Live"},
        }
        for index in (0, 1)
    ]
    return town.add(
        VGPU_NODES,
        {
            "metadata": {"name": name, "labels": {"gpu": "a100"}},
            "spec": {"revision": 3, "cordonedDevices": [], "slices": {}},
            "status": {"devices": devices, "slices": {}, "heartbeatTime": heartbeat},
        },
    )


def add_claim(
    town: Town,
    name: str,
    namespace: str,
    *,
    pods: int = 0,
    allocated: Object | None = None,
    reason: str = "SlicesReady",
    message: str = "1 pod between 20 GiB/40 % and 40 GiB/80 % per GPU",
    **status: Any,
) -> Object:
    ready = "True" if reason == "SlicesReady" else "False"
    kind = "Accepted" if reason == "WaitingForQuota" else "Bound"
    said = {
        "podCount": pods,
        "allocated": allocated or amounts("0", 0),
        "conditions": [
            condition("Ready", ready, reason, message),
            condition(kind, ready, reason if ready == "False" else "Bound", message),
        ],
    }
    if pods:
        allocation = {
            "podName": f"{name}-0",
            "nodeName": "gpu-0",
            "deviceUUIDs": ["GPU-gpu-0-0"],
            **amounts("40Gi", 60),
        }
        said["allocations"] = [allocation]
    resources = {"requests": amounts("20Gi", 40), "limits": amounts("40Gi", 80)}
    return town.add(
        VGPU_CLAIMS,
        {
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"deviceCount": 1, "allocationMode": "PerPod", "resources": resources, "priority": 0},
            "status": {**said, **status},
        },
    )


def give(town: Town, node: str, claim: str, namespace: str, *, device: int) -> None:
    """Puts a slice of a claim, grown to 40 GiB and 60 %, on a node's device."""
    raw = next(each for each in town.objects(VGPU_NODES) if each["metadata"]["name"] == node)
    slice_ = {
        "poolName": "a100",
        "claim": {"namespace": namespace, "name": claim, "uid": f"uid-{claim}"},
        "pods": [{"name": f"{claim}-0", "uid": f"pod-{claim}"}],
        "deviceUUIDs": [f"GPU-{node}-{device}"],
        "requests": amounts("20Gi", 40),
        "allocated": amounts("40Gi", 60),
        "limits": amounts("40Gi", 80),
        "heldMemory": "40Gi",
        "revision": 3,
        "priority": 0,
    }
    raw["spec"]["slices"][f"pod-{claim}"] = slice_
    raw["status"]["slices"] = {f"pod-{claim}": {**amounts("40Gi", 60), "revision": 3, "state": "Applied"}}
    town.remove(VGPU_NODES, node)
    town.add(VGPU_NODES, raw)
