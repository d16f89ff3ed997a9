"""make bench-scheduling NODES=1000 GPUS=8: the platform on a real control plane, beside the stock scheduler.

Pods bound per second from the first creation to the last Binding, CPU per pod by process, Filter and Bind
latency, memory of our processes, the time to the verdict on a pod that fits nowhere, and that of an extender
killed with a slice on every device. Each part ends in bounded time and tells what it got. The stock scheduler
gets pods that ask for CPU instead, on the same control plane and nodes.
"""

import asyncio
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import click

from scheduling import rebuild, report, runs
from vgpu_e2e import errors, gpunodes, objects, platform

PARTS = ("stock", "extended", "verdict", "rebuild")


@click.command(help=__doc__)
@click.option("--nodes", default=1000, show_default=True, help="Hand-made nodes.")
@click.option("--gpus", default=8, show_default=True, help="GPUs per node.")
@click.option("--pods", default=1000, show_default=True, help="Pods, all created at once.")
@click.option("--strategy", default="LeastFragmentation", show_default=True, help="The pool's placement.")
@click.option("--part", "parts", multiple=True, type=click.Choice(PARTS), help="Only this; may be repeated.")
@click.option("--slices", type=int, help="Before the kill; one on every device unless said otherwise.")
@click.option("--minutes", default=5.0, show_default=True, help="The most that each part may take.")
@click.option("--json", "output", type=click.Path(path_type=Path), help="Write the figures there as well.")
def main(
    *,
    nodes: int,
    gpus: int,
    pods: int,
    strategy: str,
    parts: Sequence[str],
    slices: int | None,
    minutes: float,
    output: Path | None,
) -> None:
    """Run all parts and print what they found."""
    found = report.Report()
    bench = _Bench(
        gpus=gpus, pods=pods, slices=nodes * gpus if slices is None else slices, seconds=60 * minutes
    )
    asyncio.run(_measure(bench, found, nodes=nodes, strategy=strategy, parts=parts or PARTS))
    for line in report.lines(found):
        click.echo(line)
    if output is not None:
        output.write_text(json.dumps(dataclasses.asdict(found), indent=2) + "\n")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Bench:
    gpus: int
    pods: int
    slices: int
    seconds: float

    async def part(self, name: str, bed: platform.Bed, found: report.Report) -> None:
        match name:
            case "stock":
                found.runs.append(await runs.stock(bed, pods=self.pods, seconds=self.seconds))
            case "extended":
                found.runs.append(await runs.extended(bed, pods=self.pods, seconds=self.seconds))
            case "verdict":
                found.verdict = await runs.verdict(bed, gpus=self.gpus, seconds=self.seconds)
            case "rebuild":
                found.rebuild = await rebuild.measure(
                    bed, gpus=self.gpus, slices=self.slices, seconds=self.seconds
                )


async def _measure(
    bench: _Bench, found: report.Report, *, nodes: int, strategy: str, parts: Sequence[str]
) -> None:
    report.progress(f"making {nodes} nodes with {bench.gpus} GPUs each")
    async with platform.Bed(nodes=nodes, shape=gpunodes.NodeShape(gpus=bench.gpus)) as bed:
        await bed.schedulers[0].process.stop()
        await bed.apply([objects.pool(strategy=strategy)])
        for part in (each for each in PARTS if each in parts):
            found.look(part)
            report.progress(f"{part}: the machine's load is {found.load[part]}")
            try:
                await bench.part(part, bed, found)
            except errors.BedError as error:  # the other parts can still tell something
                report.progress(f"{part} failed: {error}")


if __name__ == "__main__":
    main()
