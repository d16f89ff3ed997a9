"""A slice from inside, and two services that grow and shrink with their load.

    python -m vgpu_e2e.localnode.demo [--plot]

First two inference servers on one simulated GPU: shares of compute as allocated, CUDA's own out-of-memory
error at the limit, idle compute lent and returned, a limit raised while the server runs. Then, where there is
a Prometheus, the elastic loop (``elastic_demo``), drawn with --plot.
"""

import argparse
import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp

from vgpu_e2e import errors, objects, prometheus
from vgpu_e2e.localnode import cuda, elastic_demo, serving
from vgpu_e2e.localnode.bed import LocalBed
from vgpu_e2e.localnode.elastic import ElasticBed
from vgpu_e2e.team import Team

GIB = 2**30
PICTURE = Path("build/demo/evening.svg")
REFRESH_SECONDS = 0.5
ROW = "{:<8} {:>13} {:>9} {:>7} {:>7} {:>9} {:>8}"
HEAD = ROW.format("SERVER", "MEMORY", "COMPUTE", "LENT", "USES", "THROTTLED", "REFUSED")


async def show(plot: Path | None) -> None:
    """Run both stories, or the first and what the second lacks; the latter is drawn if a file is named."""
    await _slice_from_inside()
    reason = prometheus.missing()
    if reason is not None:
        print(f"\nthe story of slices and replicas under load is left out: {reason}")
        return
    async with ElasticBed(gpus=2, log_level="warning") as bed:
        await elastic_demo.play(bed, plot=plot)


async def _slice_from_inside() -> None:
    async with LocalBed(gpus=1, log_level="warning") as bed:
        await bed.apply([objects.pool(compute_overcommit=100)])
        team = Team(bed.api, "demo")
        await team.arrive()
        await team.claim("chat", requests=objects.amounts("4Gi", 30), limits=objects.amounts("40Gi", 100))
        await team.claim("batch", requests=objects.amounts("20Gi", 70))
        chat = await serving.start(bed, team, "chat")
        batch = await serving.start(bed, team, "batch")
        await _acts(team, chat, batch)
        await team.leave()


async def _acts(team: Team, chat: serving.Serving, batch: serving.Serving) -> None:
    servers = {"chat": chat, "batch": batch}
    async with _load(chat):
        async with _load(batch):
            await _watch("both are busy: compute as allocated, 30 and 70 percent", servers, seconds=5)
        await _watch("batch rests: its compute is lent to chat", servers, seconds=5)
        async with _load(batch):
            await _watch("batch is back, and so is its compute", servers, seconds=4)
    codes = [await chat.take(1024) for _ in range(6)]
    taken = codes.count(cuda.SUCCESS)
    said = "CUDA_ERROR_OUT_OF_MEMORY" if cuda.OUT_OF_MEMORY in codes else "no error"
    await _watch(f"chat took {taken} GiB, then the driver answered {said}", servers, seconds=2)
    await team.claim("chat", requests=objects.amounts("8Gi", 30), limits=objects.amounts("40Gi", 100))
    await _watch("the claim was raised to 8Gi while chat runs", servers, seconds=2)
    code = await chat.take(2048)
    answered = "success" if code == cuda.SUCCESS else f"error {code}"
    await _watch(f"2 GiB more: {answered}", servers, seconds=2)


@contextlib.asynccontextmanager
async def _load(server: serving.Serving) -> AsyncIterator[None]:
    """Keeps a server busy inside the `async with`."""
    async with aiohttp.ClientSession() as session:

        async def ask() -> None:
            while True:
                await server.infer(session)

        clients = [asyncio.create_task(ask()) for _ in range(8)]
        try:
            yield
        finally:
            for client in clients:
                client.cancel()
            await asyncio.gather(*clients, return_exceptions=True)


async def _watch(title: str, servers: dict[str, serving.Serving], *, seconds: float) -> None:
    print(f"\n{title}\n{HEAD}")
    clock = asyncio.get_running_loop().time
    end, drawn = clock() + seconds, False
    while clock() < end:
        before = {name: each.usage().counters.gpu_ns for name, each in servers.items()}
        began = clock()
        await asyncio.sleep(REFRESH_SECONDS)
        length = clock() - began
        rows = [_row(name, each, before[name], length) for name, each in servers.items()]
        if drawn and sys.stdout.isatty():
            print(f"\033[{len(rows)}A", end="")
        print("\n".join(rows), flush=True)
        drawn = True


def _row(name: str, server: serving.Serving, gpu_ns_before: int, seconds: float) -> str:
    limits, usage = server.limits(), server.usage()
    used = 100 * (usage.counters.gpu_ns - gpu_ns_before) / 1e9 / seconds
    return ROW.format(
        name,
        f"{usage.used / GIB:.3g}/{limits.memory_limit / GIB:.3g} GiB",
        f"{limits.compute_percent}%",
        f"+{limits.lent_percent}%",
        f"{used:.0f}%",
        f"{usage.counters.throttled_ns / 1e9:.1f} s",
        str(usage.counters.refused),
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A slice from inside, then two services under load.")
    parser.add_argument("--plot", action="store_true", help=f"draw the second story into {PICTURE}")
    try:
        asyncio.run(show(PICTURE if parser.parse_args().plot else None))
    except errors.BedError as error:
        sys.exit(f"demo: {error}")
