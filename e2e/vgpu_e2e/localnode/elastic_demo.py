"""Two inference services under a changing load, and what the elastic loop makes of it, in a table over time.

Slices grow where they stand first, replicas come when they can grow no further, both go again; the neighbour
keeps what it was promised. What the table shows is checked, so it cannot lie.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vgpu_e2e import errors, objects, process
from vgpu_e2e.localnode.elastic import ElasticBed
from vgpu_e2e.localnode.service import Rate, Service, percentile, steps
from vgpu_e2e.team import Team

RATES = Path(__file__).with_name("evening.rates")
ROW_SECONDS = 2.5
LATENCY_SECONDS = 2.5
FLOOR, CEILING = objects.amounts("8Gi", 15), objects.amounts("8Gi", 60)
BATCHES = ("--batch-ms", "10", "--item-ms", "10", "--most", "8")
CELL = "{:>6} {:>6} {:>6} {:>11} {:>8}"
ROW = "{:>6}  " + CELL + "   " + CELL


@dataclass(slots=True)
class Seen:
    """What the table has shown of one service: compute by slice and replicas asked for, row by row."""

    slices: list[list[int]] = field(default_factory=list)
    replicas: list[int] = field(default_factory=list)


async def play(bed: ElasticBed) -> None:
    """The story; raises BedError where it is not as told."""
    await bed.apply([objects.pool("evening", strategy="Spread", compute_overcommit=100)])
    team = Team(bed.api, "evening")
    await team.arrive()
    services = [Service(bed, team, name) for name in ("chat", "search")]
    rates = read_rates(RATES)
    for service in services:
        await _begin(service)
    await process.until(lambda: _all_serve(services), timeout_seconds=60, awaited="both services")
    seconds = len(rates[0])
    driven = [
        asyncio.create_task(service.drive(_replayed(rate), seconds=seconds, seed=seed))
        for seed, (service, rate) in enumerate(zip(services, rates, strict=True))
    ]
    seen = await _tell(services, rates, seconds)
    await asyncio.gather(*driven)
    for service in services:
        await _last_words(service)
    _check(*seen)
    await team.leave()


def read_rates(path: Path) -> tuple[list[float], list[float]]:
    """Two columns, one line a second: requests per second of chat and of search."""
    lines = [line.split() for line in path.read_text().splitlines() if line and not line.startswith("#")]
    return [float(first) for first, _ in lines], [float(second) for _, second in lines]


async def _begin(service: Service) -> None:
    scaling = {
        "maxReplicas": 3,
        "workload": {"query": service.rate_query},
        "behavior": {"scaleDown": {"stabilizationWindowSeconds": 10}},
    }
    await service.claim(scaling, requests=FLOOR, limits=CEILING, pool_name="evening")
    await service.deploy(*BATCHES)


def _replayed(rates: Sequence[float]) -> Rate:
    return steps(*((1.0, rate) for rate in rates))


async def _tell(
    services: Sequence[Service], rates: Sequence[Sequence[float]], seconds: int
) -> tuple[Seen, Seen]:
    print("\n        chat                                         search")
    print(ROW.format("TIME", *("LOAD", "P50", "P99", "SLICES", "REPLICAS") * 2))
    clock = asyncio.get_running_loop().time
    began, seen = clock(), (Seen(), Seen())
    while (at := clock() - began) < seconds:
        cells = [
            await _cells(service, rate[int(at)], of)
            for service, rate, of in zip(services, rates, seen, strict=True)
        ]
        print(ROW.format(f"{at:.0f} s", *cells[0], *cells[1]), flush=True)
        await asyncio.sleep(min(ROW_SECONDS, max(0.0, began + seconds - clock())))
    return seen


async def _cells(service: Service, rate: float, seen: Seen) -> tuple[str, ...]:
    slices = sorted((await service.slices()).values(), reverse=True)
    replicas = await service.scale()
    seen.slices.append(slices)
    seen.replicas.append(replicas)
    latencies = service.latencies(since=asyncio.get_running_loop().time() - LATENCY_SECONDS)
    shown = [f"{1000 * percentile(latencies, part):.0f}" for part in (0.5, 0.99)]
    return f"{rate:g}/s", *shown, "+".join(map(str, slices)) + "%", str(replicas)


async def _last_words(service: Service) -> None:
    status = await service.team.status(service.name)
    last = status.get("lastDecision", {})
    print(f"{service.name}: {last.get('action')}, {last.get('reason')}: {last.get('message')}")


def _check(chat: Seen, search: Seen) -> None:
    """Vertical first, then horizontal, then back, and the neighbour never below its floor."""
    floor = FLOOR["computePercent"]
    grown = next((row for row, slices in enumerate(chat.slices) if max(slices, default=0) > floor), None)
    scaled = next((row for row, replicas in enumerate(chat.replicas) if replicas > 1), None)
    _expect(grown is not None, "chat's slice to grow")
    _expect(scaled is not None, "chat to get another replica")
    _expect(grown is not None and scaled is not None and grown <= scaled, "growth before replicas")
    _expect(chat.replicas[-1] < max(chat.replicas), "chat's replicas to go again")
    _expect(sum(chat.slices[-1]) < max(map(sum, chat.slices)), "chat's slices to shrink again")
    least = min(min(slices, default=floor) for slices in search.slices)
    _expect(least >= floor, f"search to keep its {floor} %, not {least} %")


def _expect(holds: bool, what: str) -> None:
    if not holds:
        raise errors.BedError(f"expected {what}")


async def _all_serve(services: Sequence[Service]) -> bool:
    return all(service.servers > 0 for service in services)
