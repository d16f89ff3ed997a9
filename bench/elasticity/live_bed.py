"""The live run: a service on the test bed under the case's load, watched four times a second."""

import asyncio
import itertools
import math

from elasticity import live_case
from vgpu_e2e import objects, process
from vgpu_e2e.localnode.elastic import ElasticBed
from vgpu_e2e.localnode.service import Service
from vgpu_e2e.team import Team

LOOK_SECONDS = 0.25
SETTLE_SECONDS = 60.0
MEMORY = "4Gi"


async def play(case: live_case.Case) -> live_case.Figures:
    """Start everything, send the load, and return what was seen. Raises BedError."""
    async with ElasticBed(gpus=case.gpus, log_level="warning") as bed:
        await bed.apply([objects.pool(strategy="Spread", compute_overcommit=100)])
        team = Team(bed.api, "live")
        await team.arrive()
        service = await _started(bed, team, case)
        began = asyncio.get_running_loop().time()
        driving = asyncio.create_task(service.send(case.times(), seconds=len(case.rates)))
        moments, ready = await _watched(service, began, len(case.rates))
        await driving
        used = sum([each.usage().counters.gpu_ns for each in await service.replicas()])
        figures = _figures(case, service, moments, ready, used / 1e6)
        await team.leave()
    return figures


async def _started(bed: ElasticBed, team: Team, case: live_case.Case) -> Service:
    service = Service(bed, team, "live")
    await service.claim(
        {"maxReplicas": case.max_replicas, "workload": {"query": service.rate_query}},
        requests=objects.amounts(MEMORY, case.floor_percent),
        limits=objects.amounts(MEMORY, case.ceiling_percent),
    )
    sizes = {"--batch-ms": case.batch_ms, "--item-ms": case.item_ms, "--most": case.most}
    await service.deploy(*(str(part) for pair in sizes.items() for part in pair))

    async def serves() -> bool:
        return service.servers > 0

    await process.until(serves, timeout_seconds=SETTLE_SECONDS, awaited="a server")
    await team.condition("live", "ScalingLimited", reason="WithinBounds", within_seconds=SETTLE_SECONDS)
    return service


async def _watched(
    service: Service, began: float, seconds: int
) -> tuple[list[live_case.Moment], list[tuple[float, int]]]:
    """What slices held and how many servers were ready, over time."""
    clock = asyncio.get_running_loop().time
    moments, ready = [], []
    while (at := clock() - began) < seconds:
        held = sum((await service.slices()).values())
        moments.append(live_case.Moment(at=at, allocated=held, replicas=await service.scale()))
        ready.append((at, service.servers))
        await asyncio.sleep(LOOK_SECONDS)
    return moments, ready


def _figures(
    case: live_case.Case,
    service: Service,
    moments: list[live_case.Moment],
    ready: list[tuple[float, int]],
    gpu_ms: float,
) -> live_case.Figures:
    latencies = service.latencies(since=-math.inf)
    late = sum(each > case.objective for each in latencies)
    asked = live_case.first_replica(moments, case)
    came = next((at for at, count in ready if count > 1), None)
    steps = itertools.pairwise(moments)
    held = sum(now.allocated * (later.at - now.at) for now, later in steps)
    return live_case.Figures(
        requests=len(latencies),
        late_percent=100 * late / max(1, len(latencies)),
        allocated=held / 100 / (moments[-1].at - moments[0].at),
        first_growth=live_case.first_growth(moments, case),
        first_replica=asked,
        most_replicas=max(each.replicas for each in moments),
        cold_start=None if asked is None or came is None else came - case.step_at - asked,
        request_ms=gpu_ms / max(1, len(latencies)),
    )
