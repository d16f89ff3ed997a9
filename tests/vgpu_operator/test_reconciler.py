"""The operator on a cluster in memory: statuses, edits, deletions, storms, failures and restarts."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from vgpu import values
from vgpu.api import timestamps
from vgpu_kube import errors
from vgpu_kube.events import Recorder
from vgpu_kube.objects import Object
from vgpu_kube.resources import EVENTS, PODS, VGPU_CLAIMS, VGPU_NODES, VGPU_POOLS
from vgpu_kube.testing import Clock, Cluster, Moment, Request
from vgpu_operator.metrics import Metrics
from vgpu_operator.reconciler import Reconciler

FLOOR = {"memory": "16Gi", "computePercent": 25}
CEILING = {"memory": "40Gi", "computePercent": 100}


class Stage:
    """A cluster with a pool and a node of one GPU, and an operator that can be killed and started."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.cluster = Cluster(now=self.clock.now)
        self.metrics = Metrics(CollectorRegistry())
        self._operator = AsyncExitStack()
        self._tasks: list[asyncio.Task[None]] = []
        self.cluster.add(VGPU_POOLS, pool("a100"))
        self.cluster.add(VGPU_NODES, node("gpu-0", self.stamp()))

    def stamp(self) -> str:
        return timestamps.format_time(self.clock.now().timestamp())

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
        looks = (self.reconciler.look_for_room(), self.reconciler.look_for_silence())
        self._tasks = [asyncio.create_task(look) for look in looks]
        await self.clock.advance(1)

    async def kill(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._operator.aclose()
        self._operator = AsyncExitStack()

    async def claim(self, name: str = "llm", *, requests: Object = FLOOR, limits: Object = CEILING) -> Object:
        body = {
            "metadata": {"name": name, "namespace": "team-a"},
            "spec": {"poolName": "a100", "resources": {"requests": requests, "limits": limits}},
        }
        made = await self.cluster.create(VGPU_CLAIMS, body)
        await self.clock.advance(1)
        return made

    async def edit(self, **resources: Object) -> None:
        await self.cluster.patch_merge(VGPU_CLAIMS, "llm", {"spec": {"resources": resources}}, "team-a")
        await self.clock.advance(1)

    async def pod(self, name: str = "pod-0", claim: str = "llm") -> Object:
        labels = {"vgpu.dev/claim": claim}
        body = {
            "metadata": {"name": name, "namespace": "team-a", "labels": labels},
            "spec": {"containers": []},
        }
        made = await self.cluster.create(PODS, body)
        await self.clock.advance(1)
        return made

    async def place(self, claim: Object, pod_: Object, **more: Any) -> None:
        """What the extender does when a pod is bound."""
        await self.write(pod_["metadata"]["uid"], entry(claim, pod_) | more)

    async def write(self, slice_id: str, slice_: Object | None) -> None:
        revision = self.ledger()["revision"] + 1
        if slice_ is not None:
            slice_ = {**slice_, "revision": revision}
        patch = {"spec": {"revision": revision, "slices": {slice_id: slice_}}}
        await self.cluster.patch_merge(VGPU_NODES, "gpu-0", patch)
        await self.clock.advance(1)

    async def confirm(self) -> None:
        """What the node's agent does with every change of the ledger."""
        reports = {
            slice_id: {**slice_["allocated"], "revision": slice_["revision"], "state": "Applied"}
            for slice_id, slice_ in self.ledger()["slices"].items()
        }
        await self.cluster.patch_merge(
            VGPU_NODES, "gpu-0", {"status": {"slices": reports}}, subresource="status"
        )
        await self.clock.advance(1)

    def ledger(self) -> Object:
        (found,) = self.cluster.objects(VGPU_NODES)
        spec: Object = found["spec"]
        return spec

    def only_slice(self) -> Object:
        (found,) = self.ledger()["slices"].values()
        slice_: Object = found
        return slice_

    def status(self, name: str = "llm") -> Object:
        return self._status(self.cluster.objects(VGPU_CLAIMS, "team-a"), name)

    def pool_status(self, name: str = "a100") -> Object:
        return self._status(self.cluster.objects(VGPU_POOLS), name)

    def _status(self, found: Iterable[Object], name: str) -> Object:
        (raw,) = [each for each in found if each["metadata"]["name"] == name]
        status: Object = raw.get("status", {})
        return status

    def says(self, kind: str, status: Object | None = None) -> tuple[str, str, str]:
        conditions = (self.status() if status is None else status)["conditions"]
        (found,) = [each for each in conditions if each["type"] == kind]
        return found["status"], found["reason"], found["message"]

    def status_writes(self) -> int:
        return sum(1 for each in self.cluster.requests if each.verb == "apply")

    def told(self) -> list[str]:
        return [event["reason"] for event in self.cluster.objects(EVENTS)]


def pool(name: str, **spec: Any) -> Object:
    return {"metadata": {"name": name}, "spec": {"nodeSelector": {"matchLabels": {"gpu": "a100"}}, **spec}}


def quota(memory: str, percent: int) -> Object:
    nominal = {"memory": memory, "computePercent": percent}
    nothing = {"memory": "0", "computePercent": 0}
    return {"namespace": "team-a", "nominal": nominal, "borrowingLimit": nothing}


def node(name: str, heartbeat: str) -> Object:
    device = {"uuid": f"GPU-{name}", "index": 0, "model": "A100", "memory": "80Gi"}
    return {
        "metadata": {"name": name, "labels": {"gpu": "a100"}},
        "spec": {"revision": 0, "slices": {}, "cordonedDevices": []},
        "status": {"devices": [device], "heartbeatTime": heartbeat},
    }


def entry(claim: Object, pod_: Object) -> Object:
    metadata = claim["metadata"]
    return {
        "poolName": "a100",
        "claim": {"namespace": "team-a", "name": metadata["name"], "uid": metadata["uid"]},
        "pods": [{"name": pod_["metadata"]["name"], "uid": pod_["metadata"]["uid"]}],
        "deviceUUIDs": ["GPU-gpu-0"],
        "requests": FLOOR,
        "allocated": FLOOR,
        "limits": CEILING,
        "priority": 0,
        "heldMemory": "16Gi",
    }


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    made = Stage()
    await made.start()
    yield made
    await made.kill()


async def bound(stage: Stage) -> tuple[Object, Object]:
    """A claim with one pod that runs under confirmed limits."""
    claim, pod_ = await stage.claim(), await stage.pod()
    await stage.place(claim, pod_)
    await stage.confirm()
    return claim, pod_


async def test_a_claim_tells_its_way_from_no_pod_to_ready(stage: Stage) -> None:
    claim = await stage.claim()
    assert stage.says("Ready")[:2] == ("Unknown", "WaitingForPods")

    pod_ = await stage.pod()
    assert stage.says("Bound") == (
        "Unknown",
        "PendingEvaluation",
        "pod pod-0 waits for kube-scheduler; gpu-0 has room",
    )

    await stage.place(claim, pod_)
    assert stage.says("Bound")[:2] == ("True", "Bound")
    assert stage.says("Ready")[:2] == ("Unknown", "WaitingForAgent")

    await stage.confirm()
    assert stage.says("Ready")[:2] == ("True", "SlicesReady")
    assert {"WithinQuota", "Bound", "LimitsApplied"} <= set(stage.told())


async def test_a_bound_claim_shows_its_allocations_with_what_is_enforced(stage: Stage) -> None:
    await bound(stage)

    status = stage.status()

    assert status["podCount"] == 1
    assert status["allocated"] == FLOOR
    assert status["summary"] == {"floor": "16Gi/25%", "ceiling": "40Gi/100%"}
    assert status["allocations"] == [
        {
            "podName": "pod-0",
            "nodeName": "gpu-0",
            "deviceUUIDs": ["GPU-gpu-0"],
            **FLOOR,
            "enforced": FLOOR,
        }
    ]


async def test_a_pool_counts_its_claims_and_what_they_hold(stage: Stage) -> None:
    await bound(stage)
    await stage.claim("other")
    await stage.pod("waits", claim="other")

    status = stage.pool_status()

    assert (status["nodeCount"], status["deviceCount"]) == (1, 1)
    assert status["claims"] == {"bound": 1, "pending": 1}
    assert status["capacity"] == {"memory": "80Gi", "computePercent": 100}
    assert status["allocated"] == FLOOR
    assert stage.says("Ready", status)[:2] == ("True", "DevicesReady")


async def test_a_pod_that_fits_nowhere_is_explained_and_again_when_room_appears(stage: Stage) -> None:
    await stage.claim(requests={"memory": "70Gi", "computePercent": 10}, limits={})
    other = await stage.claim("other")
    first = await stage.pod("first", claim="other")
    await stage.place(other, first)

    await stage.pod()
    assert stage.says("Bound") == (
        "False",
        "NoFit",
        "pod pod-0 waits: 1 node: no GPU with 70 GiB memory free;"
        " what would help: ask for 64 GiB memory per GPU, 6 GiB less",
    )
    assert stage.status()["waiting"]["podName"] == "pod-0"

    await stage.write(first["metadata"]["uid"], None)
    await stage.clock.advance(2)
    assert stage.says("Bound")[1] == "PendingEvaluation"
    assert "waiting" not in stage.status()


async def test_a_pod_that_waits_for_quota_is_told_when_the_quota_is_raised(stage: Stage) -> None:
    small = {"spec": {"quotas": [quota("20Gi", 100)]}}
    await stage.cluster.patch_merge(VGPU_POOLS, "a100", small)
    await bound(stage)
    await stage.pod("pod-1")
    assert stage.says("Accepted")[:2] == ("False", "WaitingForQuota")
    assert stage.says("Ready")[:2] == ("False", "WaitingForQuota")

    await stage.cluster.patch_merge(VGPU_POOLS, "a100", {"spec": {"quotas": [quota("40Gi", 100)]}})
    await stage.clock.advance(2)
    assert stage.says("Accepted")[:2] == ("True", "WithinQuota")


async def test_a_claim_for_an_unknown_pool_is_accepted_once_the_pool_is_there(stage: Stage) -> None:
    stage.cluster.remove(VGPU_POOLS, "a100")
    await stage.claim()
    assert stage.says("Accepted")[:2] == ("False", "PoolNotFound")

    stage.cluster.add(VGPU_POOLS, pool("a100"))
    await stage.clock.advance(1)
    assert stage.says("Accepted")[:2] == ("True", "WithinQuota")


async def test_what_is_at_rest_is_not_written(stage: Stage) -> None:
    await bound(stage)
    before = stage.status_writes()

    await stage.clock.advance(120)

    assert stage.status_writes() == before


async def test_a_heartbeat_alone_writes_nothing(stage: Stage) -> None:
    await bound(stage)
    before = stage.status_writes()

    for _ in range(10):
        await stage.clock.advance(60)
        beat = {"status": {"heartbeatTime": stage.stamp()}}
        await stage.cluster.patch_merge(VGPU_NODES, "gpu-0", beat, subresource="status")

    assert stage.status_writes() == before


async def test_heartbeats_make_no_work(stage: Stage) -> None:
    labels = {"kind": "VGPUPool"}
    count = stage.metrics.registry.get_sample_value
    before = count("vgpu_reconcile_duration_seconds_count", labels)

    for _ in range(20):
        await stage.clock.advance(0.5)
        beat = {"status": {"heartbeatTime": stage.stamp()}}
        await stage.cluster.patch_merge(VGPU_NODES, "gpu-0", beat, subresource="status")

    after = count("vgpu_reconcile_duration_seconds_count", labels)
    assert after is not None
    assert before is not None
    assert after - before <= 1


async def test_a_status_is_not_written_twice_while_the_watch_lags_behind(stage: Stage) -> None:
    claim = await stage.claim()
    before = stage.status_writes()
    stage.cluster.hold_watches()
    raw = await stage.cluster.patch_merge(VGPU_CLAIMS, "llm", {"spec": {"priority": 5}}, "team-a")
    stage.reconciler.view.claims.observe(raw)
    await stage.clock.advance(1)

    stage.reconciler.claim_queue.wake(("team-a", "llm"))
    await stage.clock.advance(1)

    assert claim["metadata"]["generation"] < raw["metadata"]["generation"]
    assert stage.status_writes() - before == 1


async def test_a_pod_on_its_way_out_without_a_slice_waits_for_none(stage: Stage) -> None:
    await stage.claim()
    await stage.pod()
    finalizer = {"metadata": {"finalizers": ["example.com/slow"]}}
    await stage.cluster.patch_merge(PODS, "pod-0", finalizer, "team-a")

    await stage.cluster.delete(PODS, "pod-0", "team-a")
    await stage.clock.advance(1)

    assert stage.says("Bound")[1] == "WaitingForPods"
    assert stage.pool_status()["claims"] == {"bound": 0, "pending": 0}


async def test_an_agent_that_falls_silent_is_named_and_forgiven_when_it_returns(stage: Stage) -> None:
    await stage.clock.advance(200)
    assert stage.says("InventoryCurrent", stage.pool_status())[:2] == ("False", "AgentsSilent")

    beat = {"status": {"heartbeatTime": stage.stamp()}}
    await stage.cluster.patch_merge(VGPU_NODES, "gpu-0", beat, subresource="status")
    await stage.clock.advance(20)
    assert stage.says("InventoryCurrent", stage.pool_status())[:2] == ("True", "AgentsReporting")


async def test_a_pod_that_waits_for_a_silent_node_is_told_so_until_it_speaks(stage: Stage) -> None:
    await stage.claim()
    await stage.clock.advance(200)
    await stage.pod()
    await stage.clock.advance(20)
    assert stage.says("Bound")[1:] == (
        "NoFit",
        "pod pod-0 waits: 1 node: its agent has not reported for 180 s",
    )

    beat = {"status": {"heartbeatTime": stage.stamp()}}
    await stage.cluster.patch_merge(VGPU_NODES, "gpu-0", beat, subresource="status")
    await stage.clock.advance(2)
    assert stage.says("Bound")[1] == "PendingEvaluation"


async def test_pools_that_overlap_are_both_told_until_one_goes(stage: Stage) -> None:
    stage.cluster.add(VGPU_POOLS, pool("second"))
    await stage.clock.advance(1)
    for name in ("a100", "second"):
        assert stage.says("Ready", stage.pool_status(name))[:2] == ("False", "PoolsOverlap")

    stage.cluster.remove(VGPU_POOLS, "second")
    await stage.clock.advance(1)
    assert stage.says("Ready", stage.pool_status())[:2] == ("True", "DevicesReady")


async def test_a_storm_of_ledger_changes_makes_at_most_five_writes_a_second_per_object(stage: Stage) -> None:
    _, pod_ = await bound(stage)
    before = stage.status_writes()

    for percent in range(25, 75):
        patch = {"spec": {"slices": {pod_["metadata"]["uid"]: {"allocated": {"computePercent": percent}}}}}
        await stage.cluster.patch_merge(VGPU_NODES, "gpu-0", patch)
        await stage.clock.advance(0.02)
    await stage.clock.advance(1)

    assert stage.status()["allocated"]["computePercent"] == 74
    assert stage.pool_status()["allocated"]["computePercent"] == 74
    assert stage.status_writes() - before <= 2 * 7


async def test_a_lowered_ceiling_shrinks_the_slice(stage: Stage) -> None:
    claim, pod_ = await stage.claim(), await stage.pod()
    await stage.place(claim, pod_, allocated={"memory": "30Gi", "computePercent": 60}, heldMemory="30Gi")

    await stage.edit(limits={"memory": "20Gi", "computePercent": 50})

    assert stage.only_slice()["allocated"] == {"memory": "20Gi", "computePercent": 50}
    assert stage.only_slice()["heldMemory"] == "30Gi"
    assert stage.ledger()["revision"] == 2


async def test_a_raised_floor_becomes_a_wish_and_the_floor_follows_the_grant(stage: Stage) -> None:
    _, pod_ = await bound(stage)
    raised = {"memory": "24Gi", "computePercent": 50}

    await stage.edit(requests=raised)
    assert stage.only_slice()["wanted"] == raised
    assert stage.only_slice()["requests"] == FLOOR
    assert stage.says("Resizing")[:2] == ("True", "Growing")

    granted = {"allocated": raised, "heldMemory": "24Gi", "wanted": None}
    await stage.write(pod_["metadata"]["uid"], granted)
    await stage.confirm()
    assert stage.only_slice()["requests"] == raised
    assert stage.says("Resizing")[:2] == ("False", "AtTarget")


async def test_a_growth_that_cannot_be_granted_leaves_the_old_bounds_until_there_is_room(
    stage: Stage,
) -> None:
    await bound(stage)
    other = await stage.claim("other")
    big = await stage.pod("big", claim="other")
    await stage.place(other, big, allocated={"memory": "60Gi", "computePercent": 25}, heldMemory="60Gi")

    await stage.edit(requests={"memory": "30Gi", "computePercent": 25})
    kept = stage.ledger()["slices"]
    assert [slice_.get("wanted") for slice_ in kept.values()] == [None, None]
    status, reason, message = stage.says("Resizing")
    assert (status, reason) == ("Unknown", "Deferred")
    assert "14 GiB/0 % more asked" in message
    assert stage.says("Ready")[0] == "True"

    await stage.write(big["metadata"]["uid"], None)
    await stage.clock.advance(2)
    assert stage.only_slice()["wanted"] == {"memory": "30Gi", "computePercent": 25}


async def test_an_edit_survives_a_ledger_that_changes_under_it(stage: Stage) -> None:
    await bound(stage)

    def overtake(request: Request, moment: Moment) -> None:
        if request.verb == "patch_json" and moment is Moment.BEFORE:
            stage.cluster.on_request = None
            raise errors.Conflict(422, "PatchNotApplicable", "testing value /spec/revision failed")

    stage.cluster.on_request = overtake
    await stage.edit(limits={"memory": "20Gi", "computePercent": 50})

    assert stage.only_slice()["limits"] == {"memory": "20Gi", "computePercent": 50}


async def test_a_claim_in_use_is_held_back_and_says_so_until_its_pods_are_gone(stage: Stage) -> None:
    claim, pod_ = await bound(stage)
    uid = claim["metadata"]["uid"]
    finalizer = {"metadata": {"finalizers": ["vgpu.dev/in-use"]}}
    await stage.cluster.patch_merge(VGPU_CLAIMS, "llm", finalizer, "team-a")

    await stage.cluster.delete(VGPU_CLAIMS, "llm", "team-a")
    await stage.clock.advance(1)
    held = "being deleted, waits for pod pod-0 to end"
    assert stage.reconciler.claims.in_use(("team-a", "llm"), uid) == held
    assert stage.says("Ready") == ("False", "Deleting", held)

    stage.cluster.remove(PODS, "pod-0", "team-a")
    await stage.clock.advance(1)
    held = "being deleted, waits for its slices to be released"
    assert stage.reconciler.claims.in_use(("team-a", "llm"), uid) == held

    await stage.write(pod_["metadata"]["uid"], None)
    assert stage.reconciler.claims.in_use(("team-a", "llm"), uid) is None


async def test_a_finished_pod_does_not_hold_a_claim_back(stage: Stage) -> None:
    claim = await stage.claim()
    await stage.pod()

    done = {"status": {"phase": "Succeeded"}}
    await stage.cluster.patch_merge(PODS, "pod-0", done, "team-a", "status")
    await stage.clock.advance(1)

    assert stage.reconciler.claims.in_use(("team-a", "llm"), claim["metadata"]["uid"]) is None
    assert stage.says("Bound")[1] == "WaitingForPods"


async def test_a_pool_is_held_back_by_its_slices(stage: Stage) -> None:
    _, pod_ = await bound(stage)
    assert stage.reconciler.pools.in_use("a100") == (
        "pool a100 still has 1 slice; it goes when the last of them is released"
    )

    await stage.write(pod_["metadata"]["uid"], None)
    assert stage.reconciler.pools.in_use("a100") is None


async def test_a_claim_being_deleted_carries_no_edit(stage: Stage) -> None:
    await bound(stage)
    finalizer = {"metadata": {"finalizers": ["vgpu.dev/in-use"]}}
    await stage.cluster.patch_merge(VGPU_CLAIMS, "llm", finalizer, "team-a")
    await stage.cluster.delete(VGPU_CLAIMS, "llm", "team-a")

    await stage.edit(limits={"memory": "20Gi", "computePercent": 50})

    assert stage.only_slice()["limits"] == CEILING


async def test_a_claim_made_anew_under_its_name_does_not_inherit_the_old_ones_slices(stage: Stage) -> None:
    await bound(stage)
    stage.cluster.remove(VGPU_CLAIMS, "llm", "team-a")

    await stage.claim()

    assert stage.status()["podCount"] == 0
    assert stage.status()["allocations"] == []


async def test_a_node_that_goes_takes_its_devices_and_slices_out_of_every_status(stage: Stage) -> None:
    await bound(stage)

    stage.cluster.remove(VGPU_NODES, "gpu-0")
    await stage.clock.advance(1)

    assert stage.status()["podCount"] == 0
    assert stage.says("Bound")[1] == "NoFit"
    assert stage.pool_status()["nodeCount"] == 0
    assert stage.pool_status()["allocated"] == {"memory": "0", "computePercent": 0}


async def test_an_api_server_that_is_away_delays_the_status_and_loses_nothing(stage: Stage) -> None:
    away = errors.Unavailable(503, "ServiceUnavailable", "away")
    stage.cluster.fail_next(away, verb="apply", times=6)

    await stage.claim()
    await stage.clock.advance(30)

    assert stage.says("Ready")[1] == "WaitingForPods"


@pytest.mark.parametrize("moment", [Moment.BEFORE, Moment.AFTER])
@pytest.mark.parametrize("verb", ["apply", "patch_json"])
async def test_an_operator_killed_around_a_write_leaves_what_its_successor_completes(
    stage: Stage, verb: str, moment: Moment
) -> None:
    claim, pod_ = await stage.claim(), await stage.pod()
    await stage.place(claim, pod_, allocated={"memory": "30Gi", "computePercent": 60}, heldMemory="30Gi")
    died = asyncio.Event()

    async def die(request: Request, when: Moment) -> None:
        if request.verb == verb and request.resource in (VGPU_CLAIMS, VGPU_NODES) and when is moment:
            died.set()
            await asyncio.Event().wait()  # the answer never arrives

    stage.cluster.on_request = die
    await stage.edit(limits={"memory": "20Gi", "computePercent": 50})
    assert died.is_set()
    await stage.kill()
    stage.cluster.on_request = None

    await stage.start()
    await stage.confirm()

    assert stage.only_slice()["allocated"] == {"memory": "20Gi", "computePercent": 50}
    assert stage.ledger()["revision"] == 2
    assert stage.status()["allocated"] == {"memory": "20Gi", "computePercent": 50}
    assert stage.says("Ready")[:2] == ("True", "SlicesReady")


async def test_a_restart_writes_nothing_where_nothing_has_changed(stage: Stage) -> None:
    await bound(stage)
    await stage.kill()
    before = stage.status_writes()
    await stage.clock.advance(30)

    await stage.start()

    assert stage.status_writes() == before


async def test_an_event_is_told_once_per_transition(stage: Stage) -> None:
    await bound(stage)
    await stage.clock.advance(60)

    assert stage.told().count("Bound") == 1
    assert stage.told().count("LimitsApplied") == 1


async def test_pools_and_quotas_are_measured_as_long_as_they_are_there(stage: Stage) -> None:
    await stage.cluster.patch_merge(VGPU_POOLS, "a100", {"spec": {"quotas": [quota("20Gi", 100)]}})
    await bound(stage)
    labels = {"pool": "a100", "namespace": "team-a"}
    shown = stage.metrics.registry.get_sample_value
    assert shown("vgpu_quota_used_bytes", labels) == 16 * values.GIB
    assert shown("vgpu_quota_nominal_bytes", labels) == 20 * values.GIB
    assert shown("vgpu_pool_claims", {"pool": "a100", "state": "bound"}) == 1
    assert shown("vgpu_pool_memory_bytes", {"pool": "a100", "state": "capacity"}) == 80 * values.GIB
    assert shown("vgpu_pool_memory_bytes", {"pool": "a100", "state": "allocated"}) == 16 * values.GIB

    stage.cluster.remove(VGPU_POOLS, "a100")
    await stage.clock.advance(1)
    assert shown("vgpu_pool_claims", {"pool": "a100", "state": "bound"}) is None
    assert shown("vgpu_quota_used_bytes", labels) is None
    assert shown("vgpu_quota_nominal_bytes", labels) is None
