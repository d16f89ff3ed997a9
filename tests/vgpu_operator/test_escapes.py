"""Pods that use a GPU outside of their slice go where the pool says Stop, and only those."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from vgpu_kube import errors
from vgpu_kube.events import Recorder
from vgpu_kube.objects import Object
from vgpu_kube.resources import EVENTS, PODS, VGPU_NODES, VGPU_POOLS
from vgpu_kube.testing import Clock, Cluster
from vgpu_operator.metrics import Metrics
from vgpu_operator.reconciler import Reconciler

POOL: Object = {"metadata": {"name": "a100"}, "spec": {"nodeSelector": {"matchLabels": {"gpu": "a100"}}}}
NODE: Object = {
    "metadata": {"name": "gpu-0", "labels": {"gpu": "a100"}},
    "spec": {"revision": 1, "slices": {}},
    "status": {"devices": [{"uuid": "GPU-0", "index": 0, "model": "A100", "memory": "80Gi"}]},
}


class Stage:
    """A cluster with one GPU, and an operator that looks at it."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.cluster = Cluster(now=self.clock.now)
        self.metrics = Metrics(CollectorRegistry())
        self.cluster.add(VGPU_NODES, NODE)

    def pool(self, on_escape: str) -> None:
        spec = {**POOL["spec"], "audit": {"onEscape": on_escape}}
        self.cluster.add(VGPU_POOLS, {**POOL, "spec": spec})

    def pod(self, name: str = "thief", *, namespace: str = "team-a", node: str = "gpu-0") -> str:
        body = {"metadata": {"name": name, "namespace": namespace}, "spec": {"nodeName": node}}
        return str(self.cluster.add(PODS, body)["metadata"]["uid"])

    async def accuse(self, *uids: str, device: str = "GPU-0") -> None:
        escapes = {uid: {"deviceUUID": device, "message": f"pod {uid} holds 2 GiB"} for uid in uids}
        change = {"status": {"escapes": escapes}}
        await self.cluster.patch_merge(VGPU_NODES, "gpu-0", change, subresource="status")
        await self.clock.advance(1)

    def staying(self) -> list[str]:
        pods = [pod["metadata"] for pod in self.cluster.objects(PODS)]
        return [about["name"] for about in pods if "deletionTimestamp" not in about]

    def counted(self, result: str) -> float | None:
        labels = {"pool": "a100", "result": result}
        return self.metrics.registry.get_sample_value("vgpu_escapes_stopped_total", labels)


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    made = Stage()
    recorder = Recorder(made.cluster, "vgpu-operator", "test", now=made.clock.now)
    reconciler = Reconciler(
        made.cluster,
        made.metrics,
        recorder,
        now=lambda: made.clock.now().timestamp(),
        clock=made.clock.monotonic,
        sleep=made.clock.sleep,
    )
    async with AsyncExitStack() as running:
        await running.enter_async_context(reconciler.running())
        await reconciler.view.synced()
        reconciler.start()
        yield made


async def test_a_pool_that_reports_leaves_pods_alone(stage: Stage) -> None:
    stage.pool("Report")

    await stage.accuse(stage.pod())

    assert stage.staying() == ["thief"]


async def test_a_pool_that_stops_evicts_and_says_why(stage: Stage) -> None:
    stage.pool("Stop")
    uid = stage.pod()
    stage.pod("honest")

    await stage.accuse(uid)

    assert stage.staying() == ["honest"]
    assert stage.counted("evicted") == 1
    [event] = [each for each in stage.cluster.objects(EVENTS) if each["reason"] == "EscapeStopped"]
    assert event["note"] == f"pod {uid} holds 2 GiB: evicted, as audit.onEscape of pool a100 says Stop"
    assert event["regarding"]["name"] == "thief"


async def test_a_pool_may_say_so_later(stage: Stage) -> None:
    stage.pool("Report")
    await stage.accuse(stage.pod())

    change = {"spec": {"audit": {"onEscape": "Stop"}}}
    await stage.cluster.patch_merge(VGPU_POOLS, "a100", change)
    await stage.clock.advance(1)

    assert stage.staying() == []


@pytest.mark.parametrize("place", [{"namespace": "kube-system"}, {"node": "another"}])
async def test_no_node_can_have_others_pods_stopped_nor_the_platforms(
    stage: Stage, place: dict[str, Any]
) -> None:
    stage.pool("Stop")

    await stage.accuse(stage.pod(**place))

    assert stage.staying() == ["thief"]


async def test_a_device_of_no_pool_is_nobodys_to_guard(stage: Stage) -> None:
    stage.pool("Stop")

    await stage.accuse(stage.pod(), device="GPU-1")

    assert stage.staying() == ["thief"]


async def test_an_eviction_that_is_refused_is_tried_again(stage: Stage) -> None:
    stage.pool("Stop")
    budget = errors.Unavailable(429, "TooManyRequests", "would violate the pod's disruption budget")
    uid = stage.pod()
    stage.cluster.fail_next(budget, verb="create", resource=PODS)
    await stage.accuse(uid)
    assert stage.counted("put off") == 1

    await stage.clock.advance(10)

    assert stage.staying() == []
