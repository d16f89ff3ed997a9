"""The elastic loop live: real Prometheus, agent and shim, a service under load on simulated GPUs."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
import pytest
import pytest_asyncio

from vgpu_e2e import objects, process, prometheus
from vgpu_e2e.localnode import cuda, serving, waiting
from vgpu_e2e.localnode.elastic import ElasticBed
from vgpu_e2e.localnode.service import Rate, Service, steps
from vgpu_e2e.rest import Object
from vgpu_e2e.team import Team

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(prometheus.missing() is not None, reason=prometheus.missing() or "it is there"),
]

FLOOR, CEILING = objects.amounts("4Gi", 10), objects.amounts("8Gi", 60)
BATCHES = ("--batch-ms", "10", "--item-ms", "10", "--most", "8")
QUIET, STEP = 1.0, 60.0  # requests per second; one slice at its ceiling serves about 25


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bed() -> AsyncIterator[ElasticBed]:
    async with ElasticBed(gpus=2) as running:
        await running.apply([objects.pool(compute_overcommit=100)])
        yield running


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def everything_runs(bed: ElasticBed) -> AsyncIterator[None]:
    """Whatever a test has killed runs again before the next."""
    yield
    if not bed.prometheus.process.running:
        await bed.prometheus.restart()
    if not bed.operator.process.running:
        await bed.operator.restart()


async def test_a_step_grows_the_slice_within_5_s_and_adds_a_replica_within_10_s(
    bed: ElasticBed, team: Team
) -> None:
    await team.claim("neighbour", requests=objects.amounts("4Gi", 40))
    neighbour = await serving.start(bed, team, "neighbour", "--busy")
    service = await _service(bed, team)

    async with _driven(service, steps((1, QUIET))):
        await _until(lambda: _judged(service), "a first look")
        looks = await _looks(bed)
        await _until(lambda: _looked(bed, looks + 2), "two looks at a quiet service")
        held = max((await service.slices()).values())
        async with _driven(service, steps((1, STEP))) as step:
            vertical = await _seconds_until(lambda: _grown(service, above=held), step)
            horizontal = await _seconds_until(lambda: _scaled(service, 2), step)
            left = await neighbour.gpu_percent(seconds=1.0)

    print(f"first vertical action after {vertical:.1f} s, first horizontal after {horizontal:.1f} s")
    assert vertical <= 5
    assert horizontal <= 10
    assert left == pytest.approx(40, abs=6)


async def test_without_prometheus_everything_stays_and_goes_on_when_it_is_back(
    bed: ElasticBed, team: Team
) -> None:
    service = await _service(bed, team)
    async with _driven(service, steps((6, 15.0), (60, 0.2))):
        await _until(lambda: _grown(service), "a grown slice")
        await bed.prometheus.process.killed()
        for kind in ("Resizing", "ScalingLimited"):
            told = await team.condition(service.name, kind, reason="MetricsUnavailable")
            assert "Prometheus cannot be reached" in told["message"]
        held = await service.slices()

        looks = await _looks(bed)
        await _until(lambda: _looked(bed, looks + 2), "two looks without Prometheus")
        assert await service.slices() == held

        await bed.prometheus.restart()
        await _until(lambda: _judged(service), "a look with Prometheus")


@pytest.mark.parametrize("point", ["resize-before-write", "resize-after-write"])
async def test_an_operator_killed_in_a_resize_goes_on(bed: ElasticBed, team: Team, point: str) -> None:
    service = await _service(bed, team)
    await bed.operator.restart(f"--crash-at={point}")
    async with _driven(service, steps((60, 15.0))):
        await _until(lambda: _ended(bed), "the operator's death")

        await bed.operator.restart()

        await _until(lambda: _grown(service), "a grown slice")
        await _until(lambda: _judged(service), "a look of the new operator")


async def test_fixed_slices_keep_their_size_until_they_may_grow(bed: ElasticBed, team: Team) -> None:
    service = await _service(bed, team, elasticity={"mode": "Fixed"})
    async with _driven(service, steps((1, 15.0))):
        await _until(lambda: _judged(service), "a first look")
        looks = await _looks(bed)
        await _until(lambda: _looked(bed, looks + 2), "two more looks")
        fixed = set((await service.slices()).values())

        mode = {"spec": {"elasticity": {"mode": "Auto"}}}
        await bed.api.patch(f"{team.claims_path}/{service.name}", mode)

        await _until(lambda: _grown(service), "a grown slice")
    assert fixed == {FLOOR["computePercent"]}


async def test_memory_that_was_refused_is_there_when_it_is_asked_for_again(
    bed: ElasticBed, team: Team
) -> None:
    await team.claim("llm", requests=objects.amounts("1Gi", 10), limits=objects.amounts("8Gi", 60))
    server = await serving.start(bed, team, "llm")
    await _until(lambda: _at_rest(team), "a first look")
    assert await server.take(2048) == cuda.OUT_OF_MEMORY

    await _until(lambda: _larger(server), "more memory")

    assert await server.take(2048) == cuda.SUCCESS
    await _until(lambda: _decided(team, "llm", "Grow", "MemoryDenied"), "the decision in the status")


async def test_an_idle_service_goes_to_no_replicas_and_wakes_for_a_waiting_request(
    bed: ElasticBed, team: Team
) -> None:
    async with waiting.Queue() as queue:
        bed.prometheus.scrape("queue", queue.url)
        idle = {"afterSeconds": 5, "wake": {"query": "sum(queue_requests_waiting)"}}
        service = await _service(bed, team, scaling={"minReplicas": 0, "idle": idle})
        async with _driven(service, steps((3, 5.0), (1, 0.0))):
            await _until(lambda: _has(service, 0), "no replicas")
            await _until(lambda: _servers(service, 0), "the last server's end")

            queue.count(1)

            await _until(lambda: _servers(service, 1), "a server")
        await _until(
            lambda: _decided(team, service.name, "ScaleUp", "WorkWaits"), "the decision in the status"
        )
        bed.prometheus.forget("queue")


async def _decided(team: Team, claim: str, action: str, reason: str) -> bool:
    """The ledger changes first, the status tells of it a moment later."""
    last = (await team.status(claim)).get("lastDecision", {})
    return (last.get("action"), last.get("reason")) == (action, reason)


async def _service(bed: ElasticBed, team: Team, *, scaling: Object | None = None, **spec: object) -> Service:
    service = Service(bed, team, "chat")
    scaled = {"maxReplicas": 3, "workload": {"query": service.rate_query}, **(scaling or {})}
    await service.claim(scaled, requests=FLOOR, limits=CEILING, **spec)
    await service.deploy(*BATCHES)
    return service


@contextlib.asynccontextmanager
async def _driven(service: Service, rate: Rate) -> AsyncIterator[float]:
    """Load on a service from its first server on; gives the moment it began."""
    await _until(lambda: _serves(service), "a server")
    async with service.driven(rate, seconds=120) as began:
        yield began


async def _until(holds: Callable[[], Awaitable[bool]], awaited: str) -> None:
    await process.until(holds, timeout_seconds=40, awaited=awaited)


async def _seconds_until(holds: Callable[[], Awaitable[bool]], since: float) -> float:
    await _until(holds, "what follows a step")
    return asyncio.get_running_loop().time() - since


async def _judged(service: Service) -> bool:
    conditions = (await service.team.status(service.name)).get("conditions", [])
    return any(each["type"] == "ScalingLimited" and each["status"] != "Unknown" for each in conditions)


async def _at_rest(team: Team) -> bool:
    conditions = (await team.status("llm")).get("conditions", [])
    return any((each["type"], each["reason"]) == ("Resizing", "AtTarget") for each in conditions)


async def _larger(server: serving.Serving) -> bool:
    return bool((await server.memory())["total"] > 2**31)


async def _looks(bed: ElasticBed) -> float:
    """How often the operator has looked at its claims."""
    async with aiohttp.ClientSession() as session, session.get(f"{bed.operator.url}/metrics") as answer:
        lines = (await answer.text()).splitlines()
    return next(
        float(line.split()[1]) for line in lines if line.startswith("vgpu_loop_duration_seconds_count")
    )


async def _looked(bed: ElasticBed, times: float) -> bool:
    return await _looks(bed) >= times


async def _serves(service: Service) -> bool:
    return service.servers > 0


async def _grown(service: Service, *, above: int = FLOOR["computePercent"]) -> bool:
    return any(percent > above for percent in (await service.slices()).values())


async def _scaled(service: Service, replicas: int) -> bool:
    return await service.scale() >= replicas


async def _has(service: Service, replicas: int) -> bool:
    return await service.scale() == replicas


async def _servers(service: Service, count: int) -> bool:
    return service.servers == count


async def _ended(bed: ElasticBed) -> bool:
    return not bed.operator.process.running
