"""How long the extender needs to be of use again after a SIGKILL, with the cluster as full as can be.

Slices and their pods are written as the extender and kube-scheduler would have left them. For that the doors
of admission are taken down first, so nothing is measured on the bed after this.
"""

import asyncio
import datetime
import time
from collections.abc import Iterator

import aiohttp

from scheduling import costs, report
from vgpu import inventory
from vgpu.api import names
from vgpu_e2e import gpunodes, objects, platform, process
from vgpu_e2e.rest import JSON_PATCH, Object
from vgpu_e2e.team import Team

PARALLEL = 32
ADMISSION = "/apis/admissionregistration.k8s.io/v1"
DOORS = (
    "validatingadmissionpolicybindings",
    "mutatingwebhookconfigurations",
    "validatingwebhookconfigurations",
)
MARKED = "app.kubernetes.io/part-of=elastic-vgpu"
FLOOR = objects.amounts("16Gi", 25)
SETTLE_SECONDS = 2.0  # until the API server has noticed that the doors are gone


async def measure(bed: platform.Bed, *, gpus: int, slices: int, seconds: float) -> report.Rebuild:
    """Fills up to ``slices``, one on each device, for at most ``seconds``, and kills the extender."""
    extender, team = bed.extenders[0], Team(bed.api, "full")
    await team.arrive()
    await team.claim("full", requests=FLOOR)
    for service in (bed.admission, bed.operator, extender):
        await service.process.stop()
    await bed.kubelet.__aexit__(None, None, None)  # nobody is to run the pods: that is not measured
    await _open_doors(bed)
    written = await _fill(bed, team, gpus=gpus, slices=slices, seconds=seconds)
    await process.until(
        lambda: _beating(bed), timeout_seconds=seconds, awaited="a heartbeat of each node after the rush"
    )
    extender.process.start()
    await extender.ready(timeout_seconds=120)
    await extender.process.killed()
    began = time.perf_counter()
    extender.process.start()
    await extender.ready(timeout_seconds=120)
    ready = time.perf_counter() - began
    await _first_answer(extender.url, bed.nodes)
    answered = time.perf_counter() - began
    cost = costs.of(extender.process.pid)
    return report.Rebuild(
        slices=written,
        ready_seconds=ready,
        answer_seconds=answered,
        cpu_seconds=cost.cpu_seconds,
        memory_mib=cost.memory_mib,
    )


async def _beating(bed: platform.Bed) -> bool:
    """Whether each node's agent has written lately; silent nodes would take no pod."""
    nodes, _ = await bed.api.list(gpunodes.VGPU_NODES)
    late = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=inventory.SILENT_SECONDS / 2)
    silent = sum(node["status"]["heartbeatTime"] < gpunodes.timestamp(late) for node in nodes)
    report.progress(f"{silent} nodes have not written lately")
    return not silent


async def _open_doors(bed: platform.Bed) -> None:
    for kind in DOORS:
        found, _ = await bed.api.list(f"{ADMISSION}/{kind}", parameters={"labelSelector": MARKED})
        for each in found:
            await bed.api.delete(f"{ADMISSION}/{kind}/{each['metadata']['name']}")
    await asyncio.sleep(SETTLE_SECONDS)


async def _fill(bed: platform.Bed, team: Team, *, gpus: int, slices: int, seconds: float) -> int:
    """Node by node, as many as there is time for."""
    claim = (await bed.api.get(f"{team.claims_path}/full"))["metadata"]
    queue, began, written = iter(bed.nodes), time.perf_counter(), 0

    async def work() -> None:
        nonlocal written
        for name in queue:
            if written >= slices or time.perf_counter() - began > seconds:
                return
            written += gpus
            if written % (100 * gpus) < gpus:
                report.progress(f"{written} slices after {time.perf_counter() - began:.0f} s")
            await _fill_node(bed, team, name, gpus=gpus, claim=claim)

    async with asyncio.TaskGroup() as group:
        for _ in range(PARALLEL):
            group.create_task(work())
    return written


async def _fill_node(bed: platform.Bed, team: Team, node: str, *, gpus: int, claim: Object) -> None:
    path = f"{gpunodes.VGPU_NODES}/{node}"
    known = await bed.api.get(path)
    held = known["spec"].get("slices", {})
    made = [
        await bed.api.create(team.pods_path, _bound_pod(f"{node}-{index}", team.namespace, node))
        for index in range(gpus)
    ]
    slices = dict(_slices(made, node, claim, revision=known["spec"]["revision"] + 1))
    spec = {**known["spec"], "revision": known["spec"]["revision"] + 1, "slices": {**held, **slices}}
    change = [{"op": "replace", "path": "/spec", "value": spec}]
    await bed.api.patch(path, change, content_type=JSON_PATCH)


def _bound_pod(name: str, namespace: str, node: str) -> Object:
    return objects.pod(name, "full", namespace, schedulerName=names.SCHEDULER_NAME, nodeName=node)


def _slices(pods: list[Object], node: str, claim: Object, *, revision: int) -> Iterator[tuple[str, Object]]:
    for index, pod in enumerate(pods):
        about = pod["metadata"]
        yield (
            about["uid"],
            {
                "poolName": "a100",
                "claim": {"namespace": claim["namespace"], "name": claim["name"], "uid": claim["uid"]},
                "pods": [{"name": about["name"], "uid": about["uid"]}],
                "deviceUUIDs": [gpunodes.device_uuid(node, index)],
                "requests": FLOOR,
                "allocated": FLOOR,
                "limits": FLOOR,
                "heldMemory": FLOOR["memory"],
                "revision": revision,
            },
        )


async def _first_answer(url: str, nodes: list[str]) -> None:
    """Returns once Filter has placed a pod of the claim among all nodes."""
    pod = objects.pod("asks", "full", "full")
    pod["metadata"]["uid"] = "00000000-0000-4000-8000-000000000001"
    async with aiohttp.ClientSession() as session:
        while True:
            async with session.post(f"{url}/filter", json={"Pod": pod, "NodeNames": nodes}) as response:
                answer = await response.json()
            if answer.get("NodeNames"):
                return
            report.progress(f"not yet: {answer.get('Error') or answer.get('error') or 'refused'}")
            await asyncio.sleep(0.5)
