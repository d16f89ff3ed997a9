"""Pods bound by a kube-scheduler, alone and with ours: from the first creation to the last Binding."""

import asyncio
import time
from collections.abc import Coroutine

from scheduling import costs, metrics, report
from vgpu_e2e import background, objects, platform, scheduler
from vgpu_e2e.rest import API, Object
from vgpu_e2e.team import Team

PARALLEL = 16
FLOOR = objects.amounts("16Gi", 25)
LOOK_SECONDS = 0.5


async def stock(bed: platform.Bed, *, pods: int, seconds: float) -> report.Run:
    """The scheduler alone, with plain pods."""
    team = Team(bed.api, "stock")
    await team.arrive()
    turns = asyncio.Semaphore(PARALLEL)
    made = (_create(team, plain_pod(f"plain-{index}", team.namespace), turns) for index in range(pods))
    async with scheduler.Scheduler(bed.plane, None, name="stock-scheduler"):
        bound, took = await _bound(team, background.together(made), pods, seconds=seconds)
    await team.leave()
    return report.Run(name="stock scheduler", nodes=len(bed.nodes), pods=bound, seconds=took)


async def extended(bed: platform.Bed, *, pods: int, seconds: float) -> report.Run:
    """The scheduler with the extender and the queue, with labelled pods."""
    team = Team(bed.api, "team-a")
    await team.arrive()
    await team.claim("llm", requests=FLOOR)
    extender, before = bed.extenders[0].url, spent(bed)
    async with scheduler.Scheduler(bed.plane, extender, name="with-extender"):
        bound, took = await _bound(team, team.run("llm", pods), pods, seconds=seconds)
        after = spent(bed)
        text = await metrics.text(extender)
    filtered, written = metrics.buckets(text, "filter"), metrics.buckets(text, "bind")
    ours = [costs.since(before[name], after[name]) for name in before]
    return report.Run(
        name="with the extender",
        nodes=len(bed.nodes),
        pods=bound,
        seconds=took,
        filter_p50_ms=report.milliseconds(filtered, 0.5),
        filter_p99_ms=report.milliseconds(filtered, 0.99),
        bind_p50_ms=report.milliseconds(written, 0.5),
        bind_p99_ms=report.milliseconds(written, 0.99),
        our_cpu_seconds=sum(each.cpu_seconds for each in ours),
        our_memory_mib=sum(each.memory_mib for each in ours),
    )


async def verdict(bed: platform.Bed, *, gpus: int, seconds: float) -> report.Verdict:
    """How long a pod that fits nowhere waits for a condition on its claim with the reasons.

    It asks for all GPUs of the one node in its pool, of which another pod has a part.
    """
    team = Team(bed.api, "team-b")
    await team.arrive()
    await bed.apply([_pool_of_one(max(bed.nodes))])  # the last by name, which others fill last
    await team.claim("part", requests=FLOOR, pool_name="one")
    await team.claim("whole", requests=objects.amounts("80Gi", 100), pool_name="one", device_count=gpus)
    async with scheduler.Scheduler(bed.plane, bed.extenders[0].url, name="for-a-verdict"):
        await team.run("part", 1)
        await team.bound(1, within_seconds=seconds)
        began = time.perf_counter()
        await team.run("whole", 1)
        found = await team.condition("whole", "Bound", reason="NoFit", within_seconds=seconds)
        took = time.perf_counter() - began
    return report.Verdict(seconds=took, message=found["message"])


def _pool_of_one(node: str) -> Object:
    pool = objects.pool("one", default=False)
    pool["spec"]["nodeSelector"] = {"matchLabels": {"kubernetes.io/hostname": node}}
    return pool


def spent(bed: platform.Bed) -> dict[str, costs.Cost]:
    """What each process of ours has cost so far."""
    services = (bed.admission, bed.operator, *bed.extenders)
    return {service.process.name: costs.of(service.process.pid) for service in services}


def plain_pod(name: str, namespace: str) -> Object:
    """A pod for the stock scheduler; it asks for CPU, as resources of ours are for labelled pods alone."""
    container = {"name": "main", "image": objects.IMAGE, "resources": {"requests": {"cpu": "100m"}}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 0},
    }


async def _bound(
    team: Team, creating: Coroutine[object, object, object], pods: int, *, seconds: float
) -> tuple[int, float]:
    """How many pods were bound and in which time: all of them, or those that were when the time was over."""
    began = time.perf_counter()
    task = asyncio.create_task(creating)
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        took = time.perf_counter() - began
        bound = await _count(team.api, team.pods_path)
        report.progress(f"{bound} of {pods} bound after {took:.0f} s")
        if bound == pods or took > seconds:
            task.cancel()
            return bound, took


async def _count(api: API, path: str) -> int:
    """How many pods have a node."""
    found, _ = await api.list(path, parameters={"fieldSelector": "spec.nodeName!="})
    return len(found)


async def _create(team: Team, pod: Object, turns: asyncio.Semaphore) -> None:
    async with turns:
        await team.api.create(team.pods_path, pod)
