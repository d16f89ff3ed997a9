"""The whole loop on a cluster and a Prometheus in memory: growth, replicas, holds, rivals, restarts."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry

from vgpu.api import timestamps
from vgpu_kube import errors
from vgpu_kube.events import Recorder
from vgpu_kube.objects import Object
from vgpu_kube.resources import (
    DEPLOYMENTS,
    EVENTS,
    HORIZONTAL_POD_AUTOSCALERS,
    PODS,
    VGPU_CLAIMS,
    VGPU_NODES,
    VGPU_POOLS,
)
from vgpu_kube.testing import Clock, Cluster, settle
from vgpu_operator.elasticity import sleepers, wiring
from vgpu_operator.metrics import Metrics
from vgpu_operator.reconciler import Reconciler

RATE = "sum(rate(requests[4s]))"
TARGET = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "llm"}
GIB = 2**30
FLOOR = {"memory": "4Gi", "computePercent": 10}
CEILING = {"memory": "8Gi", "computePercent": 60}


class Beds:
    """Applications that can sleep, by the address of their pods; those in ``deaf`` do not answer."""

    def __init__(self) -> None:
        self.sleeping: set[str] = set()
        self.deaf: set[str] = set()
        self.told: list[tuple[str, str]] = []

    async def asleep(self, address: str) -> bool:
        if address in self.deaf:
            raise sleepers.Silent("no answer")
        return address in self.sleeping

    async def sleep(self, address: str) -> None:
        await self.asleep(address)
        self.told.append(("sleep", address))
        self.sleeping.add(address)

    async def wake(self, address: str) -> None:
        await self.asleep(address)
        self.told.append(("wake", address))
        self.sleeping.discard(address)


class Stage:
    """A node of two GPUs, a claim, its Deployment, and an operator with a loop that can be killed."""

    def __init__(self, metrics: Any) -> None:
        self.prometheus = metrics
        self.clock = Clock()
        self.cluster = Cluster(now=self.clock.now)
        self.waiting = False
        self.beds = Beds()
        self._operator = AsyncExitStack()
        self._task: asyncio.Task[None] | None = None
        self.cluster.add(VGPU_POOLS, pool())
        self.cluster.add(VGPU_NODES, node(timestamps.format_time(self.clock.now().timestamp())))

    async def start(self) -> None:
        counts = Metrics(CollectorRegistry())
        recorder = Recorder(self.cluster, "vgpu-operator", "test", now=self.clock.now)
        clocks: dict[str, Any] = {"clock": self.clock.monotonic, "sleep": self.clock.sleep}
        self.registry = counts.registry
        self.reconciler = Reconciler(self.cluster, counts, recorder, now=self.now, **clocks)
        self.loop = wiring.loop(
            self.cluster,
            self.reconciler.view,
            self.prometheus,
            recorder,
            counts,
            woken=self.reconciler.claim_queue.wake,
            contended=lambda _: self.waiting,
            scrape_seconds=1,
            door=self.beds,
            now=self.now,
            **clocks,
        )
        self.reconciler.follow(self.loop)
        await self._operator.enter_async_context(self.reconciler.running())
        await self.reconciler.view.synced()
        self.reconciler.start()
        self._task = asyncio.create_task(self.loop.run())
        await settle()

    async def kill(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._operator.aclose()
        self._operator = AsyncExitStack()

    def now(self) -> float:
        return self.clock.now().timestamp()

    async def claim(self, *, scaling: Object | None = None, **spec: Any) -> None:
        resources = {"requests": FLOOR, "limits": CEILING}
        body = {"poolName": "a100", "resources": resources, **spec}
        if scaling is not None:
            body["scaling"] = {"targetRef": TARGET, "maxReplicas": 4, "workload": {"query": RATE}, **scaling}
        about = {"name": "llm", "namespace": "team-a"}
        self.claimed = self.cluster.add(VGPU_CLAIMS, {"metadata": about, "spec": body})
        await settle()

    async def deployment(self, replicas: int = 1) -> None:
        about = {"name": "llm", "namespace": "team-a"}
        body = {"metadata": about, "spec": {"replicas": replicas}, "status": {"replicas": replicas}}
        self.cluster.add(DEPLOYMENTS, body)
        for number in range(replicas):
            await self.pod(f"llm-{number}", gpu=f"GPU-{number}")

    async def pod(self, name: str, *, gpu: str = "GPU-0", ready: bool = True) -> None:
        """A pod that runs in a slice at its floor, confirmed by its node."""
        labels = {"vgpu.dev/claim": "llm"}
        about = {"name": name, "namespace": "team-a", "labels": labels}
        conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
        body = {
            "metadata": about,
            "spec": {"containers": []},
            "status": {"conditions": conditions, "podIP": f"10.0.0.{name[-1]}"},
        }
        made = self.cluster.add(PODS, body)
        await self.write(made["metadata"]["uid"], entry(self.claimed, made, gpu))
        await self.confirm()

    async def leave(self, name: str) -> None:
        """A pod is gone, and its slice with it; nothing where it has left already."""
        for pod in self.cluster.objects(PODS):
            if pod["metadata"]["name"] == name:
                self.cluster.remove(PODS, name, "team-a")
                spec = {"revision": self.ledger()["revision"] + 1, "slices": {pod["metadata"]["uid"]: None}}
                await self.cluster.patch_merge(VGPU_NODES, "gpu-0", {"spec": spec})
        await settle()

    async def neighbour(self, memory: str, *, gpu: str) -> None:
        """Somebody else's slice, as large as that."""
        size = {"memory": memory, "computePercent": 1}
        others = {"metadata": {"name": "other", "uid": "other"}}
        made = {**entry(others, others, gpu), "requests": size, "allocated": size, "limits": size}
        await self.write("other", {**made, "heldMemory": memory})

    async def write(self, slice_id: str, slice_: Object) -> None:
        revision = self.ledger()["revision"] + 1
        patch = {"spec": {"revision": revision, "slices": {slice_id: {**slice_, "revision": revision}}}}
        await self.cluster.patch_merge(VGPU_NODES, "gpu-0", patch)
        await settle()

    async def grant(self) -> None:
        """What the extender does with every wish, and the node with every change."""
        for slice_id, slice_ in self.ledger()["slices"].items():
            if (wanted := slice_.get("wanted")) is not None:
                change = {"allocated": wanted, "heldMemory": wanted["memory"], "wanted": None}
                await self.write(slice_id, {**slice_, **change})
        await self.confirm()

    async def confirm(self, *pressure: str) -> None:
        reports = {
            slice_id: {**slice_["allocated"], "revision": slice_["revision"], "pressure": list(pressure)}
            for slice_id, slice_ in self.ledger()["slices"].items()
        }
        status = {"status": {"slices": reports}}
        await self.cluster.patch_merge(VGPU_NODES, "gpu-0", status, subresource="status")
        await settle()

    async def run(self, seconds: int) -> None:
        """Lets time pass, with an extender that grants whatever it is asked."""
        for _ in range(seconds):
            await self.clock.advance(1)
            await self.grant()

    def serve(self, rate: float, *, percent_per_unit: float = 1.0, pods: int = 1) -> None:
        """From now on so much work comes, and takes so much compute, on all pods alike."""
        began, metrics = self.now(), self.prometheus
        before = metrics.queries.get(RATE, [({}, lambda _: 0.0)])[0][1]
        metrics.answer(RATE, lambda at: rate if at >= began else before(at))
        share = rate * percent_per_unit / pods
        for number in range(pods):
            past = metrics.shown(f"llm-{number}", "percent")
            metrics.show(
                f"llm-{number}",
                percent=lambda at, past=past: share if at >= began else past(at),
                throttled=lambda _: 0.0,
            )

    def ledger(self) -> Object:
        (found,) = self.cluster.objects(VGPU_NODES)
        spec: Object = found["spec"]
        return spec

    def compute(self) -> list[int]:
        return sorted(each["allocated"]["computePercent"] for each in self.ledger()["slices"].values())

    def memory(self, pod: str) -> str:
        return str(self._slice(pod)["allocated"]["memory"])

    def wanted(self, pod: str) -> Object | None:
        wanted: Object | None = self._slice(pod).get("wanted")
        return wanted

    def _slice(self, pod: str) -> Object:
        (found,) = [each for each in self.ledger()["slices"].values() if each["pods"][0]["name"] == pod]
        return dict(found)

    def replicas(self) -> int:
        (found,) = self.cluster.objects(DEPLOYMENTS)
        return int(found["spec"]["replicas"])

    def status(self) -> Object:
        (found,) = self.cluster.objects(VGPU_CLAIMS)
        status: Object = found.get("status", {})
        return status

    def says(self, kind: str) -> tuple[str, str, str]:
        (found,) = [each for each in self.status()["conditions"] if each["type"] == kind]
        return found["status"], found["reason"], found["message"]


def pool(**spec: Any) -> Object:
    return {"metadata": {"name": "a100"}, "spec": {"nodeSelector": {}, **spec}}


def node(stamp: str) -> Object:
    devices = [{"uuid": f"GPU-{i}", "index": i, "model": "NVIDIA-A100", "memory": "80Gi"} for i in range(2)]
    return {
        "metadata": {"name": "gpu-0"},
        "spec": {"revision": 0, "cordonedDevices": [], "slices": {}},
        "status": {"devices": devices, "heartbeatTime": stamp},
    }


def entry(claim: Object, pod: Object, gpu: str) -> Object:
    about = claim["metadata"]
    return {
        "poolName": "a100",
        "claim": {"namespace": "team-a", "name": about["name"], "uid": about["uid"]},
        "pods": [{"name": pod["metadata"]["name"], "uid": pod["metadata"]["uid"]}],
        "deviceUUIDs": [gpu],
        "requests": FLOOR,
        "allocated": FLOOR,
        "limits": CEILING,
        "priority": 0,
        "heldMemory": FLOOR["memory"],
    }


@pytest_asyncio.fixture
async def stage(metrics: Any) -> AsyncIterator[Stage]:
    made = Stage(metrics)
    await made.start()
    yield made
    await made.kill()


async def test_a_rise_grows_the_slice_before_it_adds_a_replica(stage: Stage) -> None:
    await stage.claim(scaling={})
    await stage.deployment()
    stage.serve(5.0)
    await stage.run(20)
    assert (stage.compute(), stage.replicas()) == ([10], 1)

    stage.serve(20.0)
    await stage.run(6)

    assert stage.compute()[0] >= 26
    assert stage.replicas() == 1
    last = stage.status()["lastDecision"]
    assert (last["action"], last["reason"]) == ("Grow", "DemandRose")
    assert re.search(r"a second, sized for [0-9.]+: compute 10 to [0-9]+ %, memory kept$", last["message"])
    assert ("Grow", "DemandRose") in {
        (each["action"], each["reason"]) for each in stage.cluster.objects(EVENTS)
    }


async def test_more_than_the_slice_can_grow_to_adds_replicas(stage: Stage) -> None:
    await stage.claim(scaling={})
    await stage.deployment()
    stage.serve(5.0)
    await stage.run(20)

    stage.serve(100.0)
    await stage.run(11)

    assert stage.compute() == [60]
    assert stage.replicas() >= 2
    assert stage.says("ScalingLimited")[:2] == ("False", "WithinBounds")


async def test_pressure_is_looked_at_within_a_second(stage: Stage) -> None:
    await stage.claim(scaling={})
    await stage.deployment()
    stage.serve(5.0)
    await stage.run(21)  # the look at 20 is just over

    stage.serve(40.0)
    await stage.clock.advance(0.2)
    await stage.confirm("Throttled")
    await stage.clock.advance(1)
    await stage.grant()

    assert stage.compute()[0] > 10


async def test_replicas_fall_when_the_work_has_been_less_for_long_enough(stage: Stage) -> None:
    window = {"scaleDown": {"stabilizationWindowSeconds": 30}}
    await stage.claim(scaling={"behavior": window})
    await stage.deployment(replicas=2)
    stage.serve(50.0, pods=2)
    await stage.run(20)
    assert stage.replicas() == 2

    stage.serve(2.0, pods=2)
    await stage.run(25)
    assert stage.replicas() == 2
    await stage.run(40)

    assert stage.replicas() == 1
    costs = {
        each["metadata"]["name"]: each["metadata"]
        .get("annotations", {})
        .get("controller.kubernetes.io/pod-deletion-cost")
        for each in stage.cluster.objects(PODS)
    }
    assert sorted(costs.values(), key=str) == ["-100", None]


async def test_replicas_that_went_do_not_come_back_for_what_is_over(stage: Stage) -> None:
    window = {"scaleDown": {"stabilizationWindowSeconds": 0}}
    await stage.claim(scaling={"behavior": window})
    await stage.deployment(replicas=2)
    stage.serve(85.0, pods=2)
    await stage.run(20)
    stage.serve(2.0, pods=2)

    seen = []
    for _ in range(60):
        await stage.run(1)
        seen.append(stage.replicas())
        if seen[-1] == 1:
            await stage.leave("llm-1")

    assert seen[-1] == 1
    assert seen == sorted(seen, reverse=True)


async def test_without_prometheus_everything_stays_and_the_claim_says_so(stage: Stage) -> None:
    await stage.claim(scaling={})
    await stage.deployment()
    stage.serve(30.0)
    await stage.run(20)
    held = stage.compute(), stage.replicas()

    stage.prometheus.gone = True
    stage.serve(0.0)
    await stage.run(120)

    assert (stage.compute(), stage.replicas()) == held
    told = "slices keep their size: workload: Prometheus cannot be reached: ConnectionError"
    assert stage.says("Resizing") == ("Unknown", "MetricsUnavailable", told)
    assert stage.says("ScalingLimited")[:2] == ("Unknown", "MetricsUnavailable")

    stage.prometheus.gone = False
    await stage.run(60)
    assert stage.compute() == [10]
    assert stage.says("Resizing")[:2] == ("False", "AtTarget")


@pytest.mark.parametrize(
    ("rates", "told"),
    [
        ((), "workload: the query returns nothing"),
        ((1.0, 2.0), "workload: the query returns 2 series, one is expected: aggregate them"),
        ((float("nan"),), "workload: the query returns no finite number"),
    ],
)
async def test_a_workload_that_is_no_number_holds_and_says_why(
    stage: Stage, rates: tuple[float, ...], told: str
) -> None:
    await stage.claim(scaling={})
    await stage.deployment()
    stage.serve(30.0)
    await stage.run(20)
    held = stage.compute()

    stage.prometheus.answer(RATE, *(lambda _, value=rate: value for rate in rates))
    await stage.run(60)

    assert stage.compute() == held
    assert told in stage.says("ScalingLimited")[2]


async def test_an_objective_that_is_broken_grows_the_slice(stage: Stage) -> None:
    objective = {"type": "Prometheus", "name": "p99-ms", "query": "p99", "maximum": "200"}
    await stage.claim(scaling={"objectives": [objective]})
    await stage.deployment()
    stage.prometheus.answer("p99", lambda _: 100.0)
    stage.serve(20.0)
    await stage.run(20)
    before = stage.compute()[0]

    stage.prometheus.answer("p99", lambda _: 300.0)
    await stage.run(6)

    assert stage.compute()[0] > before
    last = stage.status()["lastDecision"]
    assert last["reason"] == "ObjectiveMissed"
    assert last["message"].startswith("p99-ms 300 > 200: compute")


async def test_use_sizes_a_claim_that_names_no_work(stage: Stage) -> None:
    await stage.claim()
    await stage.pod("llm-0")
    stage.prometheus.show("llm-0", percent=lambda _: 20.0, throttled=lambda _: 0.5)
    await stage.run(20)

    assert stage.compute()[0] >= 40
    assert stage.says("ScalingLimited")[1] == "NotScaled"


@pytest.mark.parametrize("fixed", ["claim", "pool"])
async def test_fixed_slices_keep_their_size_and_replicas_scale(stage: Stage, fixed: str) -> None:
    mode = {"elasticity": {"mode": "Fixed"}}
    await stage.claim(scaling={}, **(mode if fixed == "claim" else {}))
    if fixed == "pool":
        await stage.cluster.patch_merge(VGPU_POOLS, "a100", {"spec": mode})
    await stage.deployment()
    stage.serve(5.0)
    await stage.run(20)

    stage.serve(30.0)
    await stage.run(15)

    assert set(stage.compute()) == {10}
    assert stage.replicas() > 1


async def test_anothers_autoscaler_on_the_target_is_named_and_keeps_the_replicas(stage: Stage) -> None:
    about = {"name": "theirs", "namespace": "team-a"}
    stage.cluster.add(HORIZONTAL_POD_AUTOSCALERS, {"metadata": about, "spec": {"scaleTargetRef": TARGET}})
    await stage.claim(scaling={})
    await stage.deployment()
    stage.serve(5.0)
    await stage.run(20)

    stage.serve(200.0)
    await stage.run(30)

    assert (stage.compute(), stage.replicas()) == ([60], 1)
    _, reason, message = stage.says("ScalingLimited")
    assert reason == "ScaledByAnother"
    assert "HorizontalPodAutoscaler theirs scales Deployment llm" in message


async def test_replicas_in_the_claim_are_what_the_target_gets(stage: Stage) -> None:
    await stage.claim(scaling={"replicas": 9})
    await stage.deployment()
    stage.serve(5.0)

    await stage.run(6)

    assert stage.replicas() == 4
    assert stage.says("ScalingLimited")[1] == "ScaledByAnother"
    assert stage.status()["selector"] == "vgpu.dev/claim=llm"
    assert stage.status()["replicas"]["desired"] == 4


async def test_an_idle_service_goes_to_no_replicas_and_wakes_for_waiting_work(stage: Stage) -> None:
    idle = {"afterSeconds": 40, "wake": {"query": "waiting"}}
    await stage.claim(scaling={"minReplicas": 0, "idle": idle})
    await stage.deployment()
    stage.prometheus.answer("waiting", lambda _: 0.0)
    stage.serve(5.0)
    await stage.run(20)
    stage.serve(0.0)
    await stage.run(30)
    assert stage.replicas() == 1
    await stage.run(20)
    assert stage.replicas() == 0
    for each in stage.cluster.objects(PODS):
        stage.cluster.remove(PODS, each["metadata"]["name"], "team-a")
    stage.prometheus.queries[RATE] = []

    stage.prometheus.answer("waiting", lambda _: 2.0)
    await stage.run(6)

    assert stage.replicas() == 1
    assert stage.status()["lastDecision"]["message"].startswith("2 waiting: replicas 0 to 1")


async def test_replicas_that_have_no_place_are_not_asked_for(stage: Stage) -> None:
    await stage.cluster.patch_merge(VGPU_POOLS, "a100", {"spec": {"quotas": [quota("team-a", "4Gi", 60)]}})
    await stage.claim(scaling={})
    await stage.deployment()
    stage.serve(5.0)
    await stage.run(20)

    stage.serve(200.0)
    await stage.run(20)

    assert (stage.compute(), stage.replicas()) == ([60], 1)
    status, reason, message = stage.says("ScalingLimited")
    assert (status, reason) == ("True", "WaitingForQuota")
    assert "namespace team-a" in message


async def test_nothing_grows_while_pods_wait_for_room(stage: Stage) -> None:
    await stage.claim(scaling={})
    await stage.deployment()
    stage.serve(5.0)
    await stage.run(20)

    stage.waiting = True
    stage.serve(50.0)
    await stage.run(20)

    assert (stage.compute(), stage.replicas()) == ([10], 1)


async def test_a_surplus_replica_sleeps_before_it_goes_and_wakes_when_it_is_needed(stage: Stage) -> None:
    await stage.claim(scaling={}, cooperation={"type": "HTTPSleep", "port": 9000})
    await stage.deployment(replicas=2)
    stage.serve(2.0, pods=2)

    await stage.run(30)

    assert len(stage.beds.sleeping) == 1
    assert stage.replicas() == 2
    assert stage.status()["lastDecision"]["action"] == "Sleep"

    stage.serve(60.0)
    stage.prometheus.show("llm-1", percent=lambda _: 60.0)  # whichever of both serves
    await stage.run(8)

    assert stage.beds.sleeping == set()
    assert [what for what, _ in stage.beds.told] == ["sleep", "wake"]
    assert {address for _, address in stage.beds.told} <= {"10.0.0.0:9000", "10.0.0.1:9000"}


async def _one_of_two_sleeps(stage: Stage) -> str:
    """Two replicas that held 6 GiB each, of which one has fallen asleep; its address."""
    await stage.claim(scaling={}, cooperation={"type": "HTTPSleep"})
    await stage.deployment(replicas=2)
    for name in ("llm-0", "llm-1"):
        stage.prometheus.show(name, used=lambda _: 6 * GIB, peak=lambda _: 6 * GIB)
    stage.serve(2.0, pods=2)
    await stage.run(20)
    [address] = stage.beds.sleeping
    return address


async def test_a_sleeper_gives_its_memory_up_and_has_it_again_before_it_wakes(stage: Stage) -> None:
    address = await _one_of_two_sleeps(stage)
    sleeper = f"llm-{address[7]}"
    stage.prometheus.show(sleeper, used=lambda _: 0.0)  # and its peak is what it was
    await stage.run(10)
    asleep = stage.memory(sleeper)

    stage.prometheus.show(sleeper, peak=lambda _: 0.0)  # it slept for longer than peaks are remembered
    stage.serve(60.0)
    stage.prometheus.show("llm-1", percent=lambda _: 60.0)  # whichever of both serves
    for _ in range(20):
        await stage.clock.advance(1)
        await settle()
    assert stage.wanted(sleeper) is not None
    told_before = list(stage.beds.told)
    await stage.grant()
    await stage.clock.advance(1)
    await settle()

    assert asleep == "4Gi"
    assert stage.wanted(sleeper) is None
    assert (told_before[-1][0], stage.beds.told[-1][0]) == ("sleep", "wake")
    await stage.run(20)
    assert stage.memory(sleeper) == "6656Mi"


async def test_a_sleeper_whose_memory_others_took_is_not_woken_into_too_little(stage: Stage) -> None:
    address = await _one_of_two_sleeps(stage)
    sleeper = f"llm-{address[7]}"
    stage.prometheus.show(sleeper, used=lambda _: 0.0)
    await stage.run(10)

    await stage.neighbour("75Gi", gpu=f"GPU-{address[7]}")
    stage.serve(60.0)
    stage.prometheus.show("llm-1", percent=lambda _: 60.0)  # whichever of both serves
    await stage.run(20)

    assert [what for what, _ in stage.beds.told] == ["sleep"]
    assert stage.memory(sleeper) == "4Gi"
    assert stage.replicas() >= 3


async def test_applications_that_do_not_answer_count_as_awake(stage: Stage) -> None:
    stage.beds.deaf = {"10.0.0.0:8000", "10.0.0.1:8000"}
    await stage.claim(scaling={}, cooperation={"type": "HTTPSleep"})
    await stage.deployment(replicas=2)
    stage.serve(2.0, pods=2)

    await stage.run(30)

    assert stage.beds.told == []
    assert stage.says("ScalingLimited")[1] == "WithinBounds"


async def test_a_target_that_does_not_exist_is_named(stage: Stage) -> None:
    await stage.claim(scaling={})
    stage.serve(5.0)

    await stage.run(6)

    status, reason, message = stage.says("ScalingLimited")
    assert (status, reason) == ("Unknown", "TargetUnavailable")
    assert "Deployment llm does not exist or has no scale subresource" in message


async def test_a_service_that_has_not_begun_is_not_said_to_lack_metrics(stage: Stage) -> None:
    await stage.claim(scaling={})
    about = {"metadata": {"name": "llm", "namespace": "team-a"}, "spec": {"replicas": 1}}
    stage.cluster.add(DEPLOYMENTS, about)
    await stage.pod("llm-0", ready=False)

    await stage.run(10)

    assert stage.says("ScalingLimited")[1:] == (
        "PendingEvaluation",
        "replicas stay as they are: no pod serves yet",
    )


async def test_memory_grows_once_for_each_refused_allocation(stage: Stage) -> None:
    await stage.claim(scaling={})
    await stage.deployment()
    gib = 1024**3
    stage.prometheus.show(
        "llm-0", peak=lambda _: 4.0 * gib, denials=lambda _: 3.0, denied=lambda _: 3.0 * gib
    )
    stage.serve(5.0)
    await stage.run(10)
    memory = [each["allocated"]["memory"] for each in stage.ledger()["slices"].values()]
    assert memory == ["4Gi"]

    stage.prometheus.show("llm-0", denials=lambda _: 4.0, denied=lambda _: 4.0 * gib)
    await stage.run(6)
    (grown,) = [each["allocated"]["memory"] for each in stage.ledger()["slices"].values()]
    assert grown != "4Gi"
    await stage.run(20)

    (after,) = [each["allocated"]["memory"] for each in stage.ledger()["slices"].values()]
    assert after == grown


async def test_a_restarted_operator_goes_on_where_the_last_one_was(stage: Stage) -> None:
    await stage.claim(scaling={})
    await stage.deployment()
    stage.serve(30.0)
    await stage.run(60)
    before = stage.compute(), stage.replicas(), stage.status()["lastDecision"]

    await stage.kill()
    await stage.start()
    await stage.run(10)

    assert (stage.compute(), stage.replicas(), stage.status()["lastDecision"]) == before


async def test_an_operator_that_begins_while_prometheus_is_away_recalls_the_past_when_it_is_back(
    stage: Stage,
) -> None:
    await stage.claim(scaling={})
    await stage.deployment(replicas=2)
    stage.serve(50.0, pods=2)
    await stage.run(120)
    await stage.kill()
    stage.prometheus.gone = True
    await stage.start()
    await stage.run(10)

    stage.prometheus.gone = False
    stage.serve(2.0, pods=2)
    await stage.run(60)

    assert stage.replicas() == 2  # what was needed within the window is still known


async def test_a_write_that_fails_is_made_at_the_next_look(stage: Stage) -> None:
    await stage.claim(scaling={})
    await stage.deployment()
    stage.serve(5.0)
    await stage.run(20)

    stage.serve(30.0)
    stage.cluster.fail_next(errors.Unavailable(0, "Timeout", "no answer"), verb="patch", resource=VGPU_NODES)
    await stage.run(12)

    assert stage.compute()[0] >= 39


def quota(namespace: str, memory: str, percent: int) -> Object:
    return {"namespace": namespace, "nominal": {"memory": memory, "computePercent": percent}}
