"""A stage for making room: two nodes of one GPU each, and an operator."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from vgpu.api import timestamps
from vgpu_kube.events import Recorder
from vgpu_kube.objects import Object
from vgpu_kube.resources import EVENTS, NODES, PODS, VGPU_CLAIMS, VGPU_NODES, VGPU_POOLS
from vgpu_kube.testing import Clock, Cluster
from vgpu_operator.metrics import Metrics
from vgpu_operator.reconciler import Reconciler


def amounts(gib: int, percent: int) -> Object:
    return {"memory": f"{gib}Gi", "computePercent": percent}


class Stage:
    """Two nodes of one 80-GiB GPU each, and an operator; slices are written as extender and agents would."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.cluster = Cluster(now=self.clock.now)
        self._operator = AsyncExitStack()
        self._tasks: list[asyncio.Task[None]] = []
        self.cluster.add(VGPU_POOLS, {"metadata": {"name": "a100"}, "spec": {"nodeSelector": {}}})
        for name in ("gpu-0", "gpu-1"):
            self.cluster.add(NODES, {"metadata": {"name": name, "labels": {"name": name}}, "spec": {}})
            self.cluster.add(VGPU_NODES, self._ledger(name))

    async def start(self) -> None:
        recorder = Recorder(self.cluster, "vgpu-operator", "test", now=self.clock.now)
        self.metrics = Metrics(CollectorRegistry())
        self.reconciler = Reconciler(
            self.cluster,
            self.metrics,
            recorder,
            now=lambda: self.clock.now().timestamp(),
            clock=self.clock.monotonic,
            sleep=self.clock.sleep,
        )
        await self._operator.enter_async_context(self.reconciler.running())
        await self.reconciler.view.synced()
        self.reconciler.start()
        self._tasks = [asyncio.create_task(self.reconciler.look_for_room())]
        await self.clock.advance(1)

    async def kill(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._operator.aclose()
        self._operator = AsyncExitStack()

    async def pool(self, **spec: Any) -> None:
        await self.cluster.patch_merge(VGPU_POOLS, "a100", {"spec": spec})
        await self.clock.advance(1)

    async def holds(
        self,
        name: str,
        node: str,
        floor: Object,
        allocated: Object | None = None,
        *,
        priority: int = 0,
        namespace: str = "team-a",
        owned: bool = True,
        **pod_spec: Any,
    ) -> None:
        """A claim with one pod that runs on a node, its limits in force."""
        claim = await self._claim(name, floor, priority=priority, namespace=namespace)
        pod = await self._pod(name, namespace=namespace, owned=owned, nodeName=node, **pod_spec)
        has = allocated or floor
        ledger = self.ledger(node)
        revision = ledger["revision"] + 1
        entry = {
            "poolName": "a100",
            "claim": {"namespace": namespace, "name": name, "uid": claim["metadata"]["uid"]},
            "pods": [{"name": name, "uid": pod["metadata"]["uid"]}],
            "deviceUUIDs": [f"GPU-{node}"],
            "requests": floor,
            "allocated": has,
            "limits": amounts(80, 100),
            "priority": priority,
            "heldMemory": has["memory"],
            "revision": revision,
        }
        slices = {pod["metadata"]["uid"]: entry}
        await self.cluster.patch_merge(VGPU_NODES, node, {"spec": {"revision": revision, "slices": slices}})
        await self.confirm(node)

    async def confirm(self, node: str, *, in_use: str | None = None) -> None:
        """The agent reports what the ledger says, or that applications hold ``in_use`` each."""
        ledger = self.ledger(node)
        reports = {}
        for uid, entry in ledger["slices"].items():
            report = {**entry["allocated"], "revision": ledger["revision"], "state": "Applied"}
            if in_use is not None:
                report |= {"memory": in_use, "state": "Shrinking"}
            reports[uid] = report
        status = {"status": {"slices": reports}}
        await self.cluster.patch_merge(VGPU_NODES, node, status, subresource="status")
        await self.clock.advance(1)

    async def waits(self, floor: Object, *, priority: int = 0, **pod_spec: Any) -> Object:
        await self._claim("late", floor, priority=priority, namespace="team-a")
        pod = await self._pod("late", namespace="team-a", owned=True, **pod_spec)
        await self.clock.advance(3)
        return pod

    async def gang(self, size: int, floor: Object, *, pods: int) -> None:
        """A claim whose pods start together, and some of them."""
        gang = {"minPods": size}
        await self._claim("late", floor, priority=0, namespace="team-a", gang=gang)
        for index in range(pods):
            await self._pod(f"late-{index}", namespace="team-a", owned=True, claim="late")
        await self.clock.advance(3)

    def ledger(self, node: str) -> Object:
        (found,) = [each for each in self.cluster.objects(VGPU_NODES) if each["metadata"]["name"] == node]
        spec: Object = found["spec"]
        return spec

    def allocated(self, node: str) -> dict[str, Object]:
        return {entry["claim"]["name"]: entry["allocated"] for entry in self.ledger(node)["slices"].values()}

    def waiting(self) -> Object:
        claims = self.cluster.objects(VGPU_CLAIMS, "team-a")
        (found,) = [each for each in claims if each["metadata"]["name"] == "late"]
        shown: Object = found["status"].get("waiting", {})
        return shown

    def bound(self) -> str:
        """The message of the condition Bound of the claim that waits."""
        claims = self.cluster.objects(VGPU_CLAIMS, "team-a")
        (found,) = [each for each in claims if each["metadata"]["name"] == "late"]
        (said,) = [each for each in found["status"]["conditions"] if each["type"] == "Bound"]
        message: str = said["message"]
        return message

    def evicted(self, *, real: bool = True) -> list[str | None]:
        """The pods that are gone or on their way."""
        there = {each["metadata"]["name"] for each in self.cluster.objects(PODS) if not _leaving(each)}
        asked = dict.fromkeys(each.name for each in self.cluster.requests if each.subresource == "eviction")
        return [name for name in asked if not real or name not in there]

    def told(self) -> dict[str, str]:
        return {event["reason"]: event["note"] for event in self.cluster.objects(EVENTS)}

    def _ledger(self, name: str) -> Object:
        device = {"uuid": f"GPU-{name}", "index": 0, "model": "A100", "memory": "80Gi"}
        heartbeat = timestamps.format_time(self.clock.now().timestamp())
        return {
            "metadata": {"name": name},
            "spec": {"revision": 0, "slices": {}, "cordonedDevices": []},
            "status": {"devices": [device], "heartbeatTime": heartbeat},
        }

    async def _claim(
        self, name: str, floor: Object, *, priority: int, namespace: str, **more: Object
    ) -> Object:
        resources = {"requests": floor, "limits": amounts(256, 100)}
        spec = {"poolName": "a100", "resources": resources, "priority": priority, **more}
        body = {"metadata": {"name": name, "namespace": namespace}, "spec": spec}
        return await self.cluster.create(VGPU_CLAIMS, body)

    async def _pod(
        self, name: str, *, namespace: str, owned: bool, claim: str | None = None, **spec: Any
    ) -> Object:
        owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": name, "uid": "rs", "controller": True}
        metadata = {
            "name": name,
            "namespace": namespace,
            "labels": {"vgpu.dev/claim": claim or name},
            "ownerReferences": [owner] if owned else [],
        }
        return await self.cluster.create(PODS, {"metadata": metadata, "spec": {"containers": [], **spec}})


def _leaving(pod: Object) -> bool:
    return "deletionTimestamp" in pod["metadata"]


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    made = Stage()
    await made.start()
    yield made
    await made.kill()
