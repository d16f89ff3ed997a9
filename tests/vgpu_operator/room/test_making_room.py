"""Making room on a cluster in memory: growth comes back, pods move, and people are told what would help."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from vgpu.api import timestamps
from vgpu_kube import errors
from vgpu_kube.events import Recorder
from vgpu_kube.objects import Object
from vgpu_kube.resources import EVENTS, NODES, PODS, VGPU_CLAIMS, VGPU_NODES, VGPU_POOLS
from vgpu_kube.testing import Clock, Cluster, Moment, Request
from vgpu_operator.metrics import Metrics
from vgpu_operator.reconciler import Reconciler

BUDGET = errors.Unavailable(429, "TooManyRequests", "the disruption budget needs 1 healthy pod")


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

    async def waits(self, floor: Object, *, priority: int = 0) -> Object:
        await self._claim("late", floor, priority=priority, namespace="team-a")
        pod = await self._pod("late", namespace="team-a", owned=True)
        await self.clock.advance(3)
        return pod

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

    async def _claim(self, name: str, floor: Object, *, priority: int, namespace: str) -> Object:
        resources = {"requests": floor, "limits": amounts(256, 100)}
        spec = {"poolName": "a100", "resources": resources, "priority": priority}
        body = {"metadata": {"name": name, "namespace": namespace}, "spec": spec}
        return await self.cluster.create(VGPU_CLAIMS, body)

    async def _pod(self, name: str, *, namespace: str, owned: bool, **spec: Any) -> Object:
        owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": name, "uid": "rs", "controller": True}
        metadata = {
            "name": name,
            "namespace": namespace,
            "labels": {"vgpu.dev/claim": name},
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


async def grown(stage: Stage) -> None:
    """Two GPUs full of growth: a floor of 40 GiB fits neither of them as they are."""
    await stage.holds("low", "gpu-0", amounts(20, 20), amounts(60, 80), priority=-1)
    await stage.holds("high", "gpu-1", amounts(20, 20), amounts(60, 80), priority=1)


async def test_growth_of_the_lowest_priority_comes_back_for_a_pod_that_waits(stage: Stage) -> None:
    await grown(stage)

    await stage.waits(amounts(60, 80))

    assert stage.allocated("gpu-0")["low"] == amounts(20, 20)
    assert stage.allocated("gpu-1")["high"] == amounts(60, 80)
    assert "growth" in stage.waiting()["progress"]
    assert stage.reconciler.room.waiting_for("a100") == (("team-a", "late"),)


async def test_only_what_is_lacking_comes_back(stage: Stage) -> None:
    await stage.holds("low", "gpu-0", amounts(20, 20), amounts(40, 80))
    await stage.holds("full", "gpu-1", amounts(80, 100))

    await stage.waits(amounts(40, 50))

    assert stage.allocated("gpu-0")["low"] == amounts(40, 20)


async def test_where_an_application_holds_on_to_memory_the_next_cheapest_returns_its_own(
    stage: Stage,
) -> None:
    await grown(stage)
    await stage.waits(amounts(60, 80))

    await stage.confirm("gpu-0", in_use="60Gi")
    await stage.clock.advance(3)

    assert stage.allocated("gpu-1")["high"] == amounts(20, 20)


async def test_while_a_node_has_not_confirmed_nothing_more_is_taken_back(stage: Stage) -> None:
    await grown(stage)

    await stage.waits(amounts(60, 80))
    await stage.clock.advance(30)

    assert stage.allocated("gpu-1")["high"] == amounts(60, 80)


async def test_a_pool_of_fixed_slices_takes_nothing_back(stage: Stage) -> None:
    await stage.pool(elasticity={"mode": "Fixed"})
    await grown(stage)

    await stage.waits(amounts(60, 80))

    assert stage.allocated("gpu-0")["low"] == amounts(60, 80)


async def test_an_operator_killed_at_the_write_is_followed_by_one_that_ends_it(stage: Stage) -> None:
    def dies(request: Request, moment: Moment) -> None:
        if request.verb == "patch_json" and moment is Moment.BEFORE:
            raise errors.Unavailable(0, "Killed", "the operator dies here")

    await grown(stage)
    stage.cluster.on_request = dies
    await stage.waits(amounts(60, 80))
    assert stage.allocated("gpu-0")["low"] == amounts(60, 80)

    await stage.kill()
    stage.cluster.on_request = None
    await stage.start()
    await stage.clock.advance(3)

    assert stage.allocated("gpu-0")["low"] == amounts(20, 20)


async def test_the_reasons_stand_in_the_status_where_nothing_but_more_gpus_would_help(stage: Stage) -> None:
    await stage.holds("one", "gpu-0", amounts(30, 100))
    await stage.holds("two", "gpu-1", amounts(80, 40))

    await stage.waits(amounts(60, 30))

    shown = stage.waiting()
    assert shown["reason"] == "NoFit"
    assert sum(group["count"] for group in shown["nodes"]) == 2
    assert "suggestions" not in shown
    assert "WouldFit" not in stage.told()


async def test_a_smaller_claim_is_suggested_in_status_and_event(stage: Stage) -> None:
    await stage.holds("one", "gpu-0", amounts(30, 40))
    await stage.holds("two", "gpu-1", amounts(80, 40))

    await stage.waits(amounts(60, 30))

    (only,) = stage.waiting()["suggestions"]
    assert only == {
        "message": "ask for 50 GiB memory per GPU, 10 GiB less",
        "changes": [{"type": "LessMemory", "memory": "50Gi"}],
    }
    assert "ask for 50 GiB" in stage.told()["WouldFit"]


async def halved(stage: Stage, **more: Any) -> None:
    """Two GPUs with 40 GiB free each: 60 GiB fit after one of two pods moves."""
    await stage.holds("left", "gpu-0", amounts(40, 20), namespace="team-b", **more)
    await stage.holds("right", "gpu-1", amounts(30, 20), namespace="team-b", **more)


async def test_a_move_is_proposed_and_nobody_moved(stage: Stage) -> None:
    await halved(stage)

    await stage.waits(amounts(60, 20))

    first = stage.waiting()["suggestions"][0]["changes"]
    assert first == [{"type": "MovePods", "nodeName": "gpu-1", "podCount": 1, "memory": "30Gi"}]
    assert "team-b/right to gpu-0" in stage.told()["MoveProposed"]
    assert "right" not in str(stage.waiting())
    assert stage.evicted(real=False) == []


async def test_where_the_pool_says_so_the_pod_with_the_least_memory_is_evicted(stage: Stage) -> None:
    await stage.pool(reclaim={"moves": "Evict"})
    await halved(stage)

    await stage.waits(amounts(60, 20))

    assert stage.evicted() == ["right"]
    assert "restart elsewhere" in stage.waiting()["progress"]
    assert "team-b/right" in stage.told()["PodsMoved"]


async def test_one_move_at_a_time_however_long_its_pods_take_to_leave(stage: Stage) -> None:
    await stage.pool(reclaim={"moves": "Evict"})
    await halved(stage)

    await stage.waits(amounts(60, 20))
    await stage.clock.advance(120)

    assert stage.evicted() == ["right"]


async def test_what_a_budget_keeps_is_left_and_the_next_cheapest_moved(stage: Stage) -> None:
    await stage.pool(reclaim={"moves": "Evict"})
    await halved(stage)

    def kept(request: Request, moment: Moment) -> None:
        if request.subresource == "eviction" and request.name == "right" and moment is Moment.BEFORE:
            raise BUDGET

    stage.cluster.on_request = kept
    await stage.waits(amounts(60, 20))
    await stage.clock.advance(3)

    assert stage.evicted() == ["left"]


async def test_a_budget_that_keeps_all_is_asked_again_later_and_seldom(stage: Stage) -> None:
    await stage.pool(reclaim={"moves": "Evict"})
    await halved(stage)

    def kept(request: Request, moment: Moment) -> None:
        if request.subresource == "eviction" and moment is Moment.BEFORE:
            raise BUDGET

    stage.cluster.on_request = kept
    await stage.waits(amounts(60, 20))
    await stage.clock.advance(60)
    asked = sum(1 for each in stage.cluster.requests if each.subresource == "eviction")
    assert 4 <= asked <= 8

    stage.cluster.on_request = None
    await stage.clock.advance(60)
    assert len(stage.evicted()) == 1


@pytest.mark.parametrize(
    "unfit",
    [
        {"priority": 1},
        {"owned": False},
        {"nodeSelector": {"name": "gpu-7"}},
        {"topologySpreadConstraints": [{"whenUnsatisfiable": "DoNotSchedule"}]},
    ],
    ids=["a higher priority", "no controller", "no other node", "rules between pods"],
)
async def test_some_pods_are_never_moved(stage: Stage, unfit: dict[str, Any]) -> None:
    await stage.pool(reclaim={"moves": "Evict"})
    await halved(stage, **unfit)

    await stage.waits(amounts(60, 20))
    await stage.clock.advance(30)

    assert stage.evicted(real=False) == []


async def test_a_wish_that_nothing_can_fulfil_costs_nothing_while_nothing_changes(stage: Stage) -> None:
    await grown(stage)
    await stage.waits(amounts(200, 20))
    before = len(stage.cluster.requests)

    await stage.clock.advance(60)

    writes = [each for each in stage.cluster.requests[before:] if each.writes]
    assert writes == []


async def test_claims_that_wait_are_counted_by_reason(stage: Stage) -> None:
    await grown(stage)
    await stage.waits(amounts(200, 20))
    await stage.clock.advance(2)

    labels = {"pool": "a100", "reason": "NoFit"}
    assert stage.metrics.registry.get_sample_value("vgpu_claims_waiting", labels) == 1
