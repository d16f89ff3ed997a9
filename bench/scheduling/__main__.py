"""make bench-scheduling NODES=1000: pods bound per second and Filter latency, beside the stock scheduler.

All pods are created while no scheduler runs; then it is started, and the clock runs until the last is bound.
Both runs use the same control plane and nodes; the stock scheduler gets pods that ask for CPU instead.
"""

import asyncio
import contextlib
import dataclasses
import json
import sys
import time
from pathlib import Path

import aiohttp
import click

from scheduling import metrics, report
from vgpu_e2e import gpunodes, objects, platform, process, scheduler
from vgpu_e2e.rest import Object
from vgpu_e2e.team import Team

PARALLEL = 32
FLOOR = objects.amounts("16Gi", 25)


@click.command(help=__doc__)
@click.option("--nodes", default=1000, show_default=True, help="Hand-made nodes.")
@click.option("--gpus", default=8, show_default=True, help="GPUs per node.")
@click.option("--pods", default=1000, show_default=True, help="Pods, all there at once.")
@click.option("--strategy", default="LeastFragmentation", show_default=True, help="The pool's placement.")
@click.option("--json", "output", type=click.Path(path_type=Path), help="Write the figures there as well.")
def main(nodes: int, gpus: int, pods: int, strategy: str, output: Path | None) -> None:
    """Run both and print the table."""
    runs = asyncio.run(_measure(nodes, gpus, pods, strategy))
    click.echo(report.table(runs))
    if output is not None:
        output.write_text(json.dumps([dataclasses.asdict(run) for run in runs], indent=2) + "\n")


async def _measure(nodes: int, gpus: int, pods: int, strategy: str) -> list[report.Run]:
    shape = gpunodes.NodeShape(gpus=gpus)
    _progress(f"making {nodes} nodes with {gpus} GPUs each")
    async with platform.Bed(nodes=nodes, shape=shape, lease_seconds=15) as bed:
        await bed.schedulers[0].process.stop()
        await bed.apply([objects.pool(strategy=strategy)])
        stock = await _stock(bed, nodes, pods)
        return [stock, await _extended(bed, nodes, pods)]


async def _stock(bed: platform.Bed, nodes: int, pods: int) -> report.Run:
    """The scheduler alone, with plain pods."""
    team = Team(bed.api, "stock")
    await team.arrive()
    _progress(f"creating {pods} plain pods")
    turns = asyncio.Semaphore(PARALLEL)
    await asyncio.gather(*(_create(team, f"plain-{index}", turns=turns) for index in range(pods)))
    stock = scheduler.Scheduler(bed.plane, None, name="stock-scheduler")
    seconds = await _until_all_bound(team, pods, stock)
    await team.leave()
    return report.Run(name="stock scheduler", nodes=nodes, pods=pods, seconds=seconds)


async def _extended(bed: platform.Bed, nodes: int, pods: int) -> report.Run:
    team = Team(bed.api, "team-a")
    await team.arrive()
    await team.claim("llm", requests=FLOOR)
    _progress(f"creating {pods} labelled pods")
    await team.run("llm", pods)
    extender = bed.extenders[0].url
    seconds = await _until_all_bound(
        team, pods, scheduler.Scheduler(bed.plane, extender, name="with-extender")
    )
    text = await _metrics(extender)
    filtered, bound = metrics.buckets(text, "filter"), metrics.buckets(text, "bind")
    return report.Run(
        name="with the extender",
        nodes=nodes,
        pods=pods,
        seconds=seconds,
        filter_p50_ms=1000 * report.quantile(filtered, 0.5),
        filter_p99_ms=1000 * report.quantile(filtered, 0.99),
        bind_p50_ms=1000 * report.quantile(bound, 0.5),
        bind_p99_ms=1000 * report.quantile(bound, 0.99),
    )


async def _until_all_bound(
    team: Team, pods: int, starting: contextlib.AbstractAsyncContextManager[object]
) -> float:
    """Seconds from the scheduler's readiness until every pod has a node."""
    async with starting:
        began = time.perf_counter()

        async def all_bound() -> bool:
            waiting, _ = await team.api.list(team.pods_path, parameters={"fieldSelector": "spec.nodeName="})
            _progress(f"{pods - len(waiting)} of {pods} bound after {time.perf_counter() - began:.0f} s")
            return not waiting

        await process.until(all_bound, timeout_seconds=1200, awaited=f"{pods} bound pods")
        return time.perf_counter() - began


async def _create(team: Team, name: str, *, turns: asyncio.Semaphore) -> None:
    async with turns:
        await team.api.create(team.pods_path, plain_pod(name, team.namespace))


def plain_pod(name: str, namespace: str) -> Object:
    """A pod for the stock scheduler; it asks for CPU, as resources of ours are for labelled pods alone."""
    container = {"name": "main", "image": objects.IMAGE, "resources": {"requests": {"cpu": "100m"}}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 0},
    }


async def _metrics(url: str) -> str:
    async with aiohttp.ClientSession() as session, session.get(f"{url}/metrics") as response:
        return await response.text()


def _progress(line: str) -> None:
    print(f"bench-scheduling: {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
