"""Pods bound by a kube-scheduler, alone and with ours: from the first creation to the last Binding."""

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine, Mapping
from dataclasses import dataclass

from scheduling import costs, metrics, report
from vgpu_e2e import background, objects, platform, scheduler
from vgpu_e2e.rest import API, Object
from vgpu_e2e.team import Team

PARALLEL = 16
FLOOR = objects.amounts("16Gi", 25)
SETTLE_SECONDS = 2.0  # until what follows the last Binding, such as a claim's status, is written


async def stock(bed: platform.Bed, *, pods: int, seconds: float) -> report.Run:
    """The scheduler alone, with plain pods."""
    team = Team(bed.api, "stock")
    await team.arrive()
    turns = asyncio.Semaphore(PARALLEL)
    made = (_create(team, plain_pod(f"plain-{index}", team.namespace), turns) for index in range(pods))
    async with scheduler.Scheduler(bed.plane, None, name="stock-scheduler") as started:
        found = await _bound(bed, started, team, background.together(made), pods, seconds=seconds)
    await team.leave()
    return report.Run(
        name="stock scheduler",
        nodes=len(bed.nodes),
        pods=found.pods,
        seconds=found.seconds,
        cpu_seconds=found.cpu_seconds,
    )


async def extended(bed: platform.Bed, *, pods: int, seconds: float) -> report.Run:
    """The scheduler with the extender and the queue, with labelled pods."""
    team = Team(bed.api, "team-a")
    await team.arrive()
    await team.claim("llm", requests=FLOOR)
    extender = bed.extenders[0].url
    async with scheduler.Scheduler(bed.plane, extender, name="with-extender") as started:
        found = await _bound(bed, started, team, team.run("llm", pods), pods, seconds=seconds)
        text = await metrics.text(extender)
    filtered, written = metrics.buckets(text, "filter"), metrics.buckets(text, "bind")
    return report.Run(
        name="with the extender",
        nodes=len(bed.nodes),
        pods=found.pods,
        seconds=found.seconds,
        filter_p50_ms=report.milliseconds(filtered, 0.5),
        filter_p99_ms=report.milliseconds(filtered, 0.99),
        bind_p50_ms=report.milliseconds(written, 0.5),
        bind_p99_ms=report.milliseconds(written, 0.99),
        cpu_seconds=found.cpu_seconds,
        our_memory_mib=sum(costs.of(each.process.pid).memory_mib for each in _ours(bed)),
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


def _ours(bed: platform.Bed) -> list[platform.Service]:
    return [bed.admission, bed.operator, *bed.extenders]


def spent(bed: platform.Bed, started: scheduler.Scheduler) -> dict[str, float]:
    """CPU seconds of each process that has a part in binding, so far; the bed's own are not counted."""
    plane = (bed.plane.api_server, bed.plane.etcd, bed.plane.controller_manager, started.process)
    processes = [*plane, *(service.process for service in _ours(bed))]
    return {process.name: costs.of(process.pid).cpu_seconds for process in processes}


def plain_pod(name: str, namespace: str) -> Object:
    """A pod for the stock scheduler; it asks for CPU, as resources of ours are for labelled pods alone."""
    container = {"name": "main", "image": objects.IMAGE, "resources": {"requests": {"cpu": "100m"}}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 0},
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    pods: int
    seconds: float
    cpu_seconds: dict[str, float]


async def _bound(
    bed: platform.Bed,
    started: scheduler.Scheduler,
    team: Team,
    creating: Coroutine[object, object, object],
    pods: int,
    *,
    seconds: float,
) -> _Found:
    """How many pods were bound, in which time and at which cost: all, or those that were at the end."""
    before, began, bound = spent(bed, started), time.perf_counter(), 0
    took = 0.0
    task = asyncio.create_task(creating)
    try:
        async with asyncio.timeout(seconds):
            async for bound in _counted(team.api, team.pods_path):
                took = time.perf_counter() - began
                if bound == pods:
                    break
    except TimeoutError:
        took = time.perf_counter() - began
    task.cancel()
    report.progress(f"{bound} of {pods} bound after {took:.0f} s")
    await asyncio.sleep(SETTLE_SECONDS)
    return _Found(pods=bound, seconds=took, cpu_seconds=_since(before, spent(bed, started)))


def _since(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    return {name: round(seconds - before[name], 2) for name, seconds in after.items()}


async def _counted(api: API, path: str) -> AsyncIterator[int]:
    """How many pods have a node, after each one more; a list each time would cost more than a pod does."""
    seen: set[str] = set()
    async for _, pod in api.watch(path, parameters={"fieldSelector": "spec.nodeName!="}):
        seen.add(pod["metadata"]["uid"])
        yield len(seen)


async def _create(team: Team, pod: Object, turns: asyncio.Semaphore) -> None:
    async with turns:
        await team.api.create(team.pods_path, pod)
