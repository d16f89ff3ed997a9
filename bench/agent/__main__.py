"""make bench-agent: resize latency, lending reaction, and cost of the node agent, on the local node.

Everything is the production code on a real control plane; the GPUs are simulated.
"""

import asyncio
import dataclasses
import json
import sys
from pathlib import Path

import click

from agent import costs, figures, loans, resizes
from vgpu_e2e import objects
from vgpu_e2e.localnode.bed import LocalBed


@click.command(help=__doc__)
@click.option("--resizes", "count", default=1000, show_default=True, help="Live resizes.")
@click.option("--pause", default=0.5, show_default=True, help="Seconds between two of them.")
@click.option("--storm", default=100, show_default=True, help="Live resizes without a pause.")
@click.option("--restarts", default=10, show_default=True, help="Resizes by restart, for comparison.")
@click.option("--wakes", default=20, show_default=True, help="How often an owner wakes.")
@click.option("--seconds", default=10.0, show_default=True, help="How long the agent's CPU is measured.")
@click.option("--json", "output", type=click.Path(path_type=Path), help="Write the figures there as well.")
def main(
    count: int, pause: float, storm: int, restarts: int, wakes: int, seconds: float, output: Path | None
) -> None:
    """Measure all and print the table."""
    found = asyncio.run(_measure(resizes.Plan(count, pause, storm, restarts), wakes, seconds))
    click.echo(figures.table(found))
    if output is not None:
        output.write_text(json.dumps([dataclasses.asdict(each) for each in found], indent=2) + "\n")


async def _measure(plan: resizes.Plan, wakes: int, seconds: float) -> list[figures.Figure]:
    found: list[figures.Figure] = []
    async with LocalBed(gpus=1, log_level="warning") as bed:
        await bed.apply([objects.pool(compute_overcommit=100)])
        _progress(f"resizing {plan.spaced} times")
        found += await resizes.measure(bed, plan)
        _progress(f"waking an owner {wakes} times")
        found += await loans.measure(bed, count=wakes)
    async with LocalBed(gpus=8, log_level="warning") as bed:
        await bed.apply([objects.pool()])
        _progress("measuring the cost of 64 slices")
        found += await costs.measure(bed, seconds=seconds, scratch=bed.plane.directory / "scratch")
    return found


def _progress(text: str) -> None:
    print(text, file=sys.stderr)


if __name__ == "__main__":
    main()
