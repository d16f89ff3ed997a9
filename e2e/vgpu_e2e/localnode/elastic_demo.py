"""Two inference services under a changing load, and what the elastic loop makes of it, in a table over time.

Slices grow where they stand first, replicas come when they can grow no further, both go again; the neighbour
keeps what it was promised. What the table shows is checked, so it cannot lie.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vgpu_e2e import errors, objects, process
from vgpu_e2e.localnode import picture
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One service after so many seconds: requests per second, latencies in ms, slices in percent of a GPU."""

    at: float
    rate: float
    p50: float
    p99: float
    slices: tuple[int, ...]
    replicas: int


Seen = list[Row]
"""What the table has shown of one service."""


async def play(bed: ElasticBed, *, plot: Path | None = None) -> None:
    """The story, drawn into a file where one is named; raises BedError where it is not as told."""
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
    if plot is not None:
        await asyncio.to_thread(_draw, plot, dict(zip([each.name for each in services], seen, strict=True)))
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
        for service, rate, rows in zip(services, rates, seen, strict=True):
            rows.append(await _look(service, at, rate[int(at)]))
        print(ROW.format(f"{at:.0f} s", *_cells(seen[0][-1]), *_cells(seen[1][-1])), flush=True)
        await asyncio.sleep(min(ROW_SECONDS, max(0.0, began + seconds - clock())))
    return seen


async def _look(service: Service, at: float, rate: float) -> Row:
    slices = tuple(sorted((await service.slices()).values(), reverse=True))
    latencies = service.latencies(since=asyncio.get_running_loop().time() - LATENCY_SECONDS)
    p50, p99 = (1000 * percentile(latencies, part) for part in (0.5, 0.99))
    return Row(at=at, rate=rate, p50=p50, p99=p99, slices=slices, replicas=await service.scale())


def _cells(row: Row) -> tuple[str, ...]:
    sizes = "+".join(map(str, row.slices)) + "%"
    return f"{row.rate:g}/s", f"{row.p50:.0f}", f"{row.p99:.0f}", sizes, str(row.replicas)


def _draw(path: Path, seen: Mapping[str, Seen]) -> None:
    def lines(value: Callable[[Row], float]) -> dict[str, picture.Points]:
        return {name: [(row.at, value(row)) for row in rows] for name, rows in seen.items()}

    panels = [
        picture.Panel(title="load, requests per second", lines=lines(lambda row: row.rate), stairs=True),
        picture.Panel(title="p99 latency of the last 2.5 s, ms", lines=lines(lambda row: row.p99)),
        picture.Panel(title="all slices, % of a GPU", lines=lines(lambda row: sum(row.slices)), stairs=True),
        picture.Panel(title="replicas asked for", lines=lines(lambda row: row.replicas), stairs=True),
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(picture.svg("An evening of two services on two GPUs", panels))
    print(f"\ndrawn: {path}")


async def _last_words(service: Service) -> None:
    status = await service.team.status(service.name)
    last = status.get("lastDecision", {})
    print(f"{service.name}: {last.get('action')}, {last.get('reason')}: {last.get('message')}")


def _check(chat: Seen, search: Seen) -> None:
    """Vertical first, then horizontal, then back, and the neighbour never below its floor."""
    floor = FLOOR["computePercent"]
    grown = next((row.at for row in chat if max(row.slices, default=0) > floor), None)
    scaled = next((row.at for row in chat if row.replicas > 1), None)
    _expect(grown is not None, "chat's slice to grow")
    _expect(scaled is not None, "chat to get another replica")
    _expect(grown is not None and scaled is not None and grown <= scaled, "growth before replicas")
    _expect(chat[-1].replicas < max(row.replicas for row in chat), "chat's replicas to go again")
    _expect(sum(chat[-1].slices) < max(sum(row.slices) for row in chat), "chat's slices to shrink again")
    least = min(min(row.slices, default=floor) for row in search)
    _expect(least >= floor, f"search to keep its {floor} %, not {least} %")


def _expect(holds: bool, what: str) -> None:
    if not holds:
        raise errors.BedError(f"expected {what}")


async def _all_serve(services: Sequence[Service]) -> bool:
    return all(service.servers > 0 for service in services)
