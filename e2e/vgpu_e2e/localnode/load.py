"""An open-loop load generator: requests come when they come, whether or not the earlier ones are answered.

    python -m vgpu_e2e.localnode.load URL --rates rates.txt --seconds-per-rate 1
    python -m vgpu_e2e.localnode.load URL --arrivals trace.txt

A rate file has one rate per line, in requests per second; an arrival file one time per line, in seconds.
Latencies count from when a request was due, so that a stalled server cannot hide its queue.
"""

import asyncio
import json
import math
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import aiohttp
import click


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of the requests; latencies in seconds, from when they were due."""

    sent: int
    failed: int
    p50: float
    p90: float
    p99: float


def poisson(rates: Iterable[float], *, seconds_per_rate: float, rng: random.Random) -> Iterator[float]:
    """Yield the times of a Poisson process whose rate changes every so many seconds."""
    began = 0.0
    for rate in rates:
        moment = began
        while rate > 0 and (moment := moment + rng.expovariate(rate)) < began + seconds_per_rate:
            yield moment
        began += seconds_per_rate


async def send(url: str, arrivals: Iterable[float], *, limit_seconds: float = 30.0) -> Result:
    """POST to url at each of the times (seconds from now, ascending); return when all are answered."""
    clock = asyncio.get_running_loop().time
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=limit_seconds)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        began, under_way = clock(), []
        for moment in arrivals:
            due = began + moment
            await asyncio.sleep(max(0.0, due - clock()))
            under_way.append(asyncio.create_task(_one(session, url, due)))
        return summary(await asyncio.gather(*under_way))


def summary(latencies: Sequence[float | None]) -> Result:
    """Return the figures; None stands for a request that failed, which is slower than any that did not."""
    ordered = sorted(math.inf if each is None else each for each in latencies)
    return Result(
        sent=len(ordered),
        failed=sum(1 for each in latencies if each is None),
        p50=_quantile(ordered, 0.50),
        p90=_quantile(ordered, 0.90),
        p99=_quantile(ordered, 0.99),
    )


def _quantile(ordered: Sequence[float], part: float) -> float:
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else math.nan


async def _one(session: aiohttp.ClientSession, url: str, due: float) -> float | None:
    try:
        async with session.post(url) as response:
            await response.read()
            if response.status != 200:
                return None
    except (aiohttp.ClientError, TimeoutError):
        return None
    return asyncio.get_running_loop().time() - due


@click.command()
@click.argument("url")
@click.option("--rates", type=click.Path(exists=True, path_type=Path), help="One rate per line.")
@click.option("--seconds-per-rate", type=float, default=1.0, show_default=True)
@click.option("--arrivals", type=click.Path(exists=True, path_type=Path), help="One time per line.")
@click.option("--seed", type=int, default=0, show_default=True)
def main(url: str, rates: Path | None, seconds_per_rate: float, arrivals: Path | None, seed: int) -> None:
    """Send requests to URL and print what became of them as JSON."""
    if (rates is None) == (arrivals is None):
        raise click.UsageError("expected one of --rates and --arrivals")
    chosen = rates or arrivals
    assert chosen is not None
    numbers = [float(line) for line in chosen.read_text().split()]
    if rates is not None:
        numbers = list(poisson(numbers, seconds_per_rate=seconds_per_rate, rng=random.Random(seed)))
    print(json.dumps(asdict(asyncio.run(send(url, numbers)))))


if __name__ == "__main__":
    main()
