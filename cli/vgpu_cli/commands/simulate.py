"""``simulate``: a rate file against a claim's settings, before one trusts them."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click
import yaml

from vgpu.elasticity import settings, work
from vgpu_cli import drawing, options, output, reading, words
from vgpu_cli.faults import Fault
from vgpu_cli.options import Access
from vgpu_cli.simulation import outcome, rates, world
from vgpu_kube.objects import Object
from vgpu_kube.resources import VGPU_CLAIMS

COLUMNS = 72
LISTED = 40
"""Decisions shown; JSON has them all."""

ASSUMED = (
    "Assumed: a queue that any replica serves, the same cost per unit at any load, resizes at once, "
    "devices with the room of --room; no neighbours, no lending, no memory."
)


def curve(cost: float | None, points: str | None, *, ceiling: int) -> work.Curve:
    """What a slice serves, from one figure or from measured points. Raises UsageError."""
    if (cost is None) == (points is None):
        raise click.UsageError("expected either --cost or --curve")
    try:
        if cost is not None:
            return work.linear(cost, largest_percent=ceiling)
        pairs = [each.split("=", 1) for each in (points or "").split(",")]
        return work.curve([(int(share), float(rate)) for share, rate in pairs])
    except ValueError as error:
        raise click.UsageError(f"--curve: expected 10=4,25=11,50=18 (percent=rate), {error}") from None


def service(claim: Object, found: work.Curve, **assumed: Any) -> world.Service:  # noqa: ANN401 -- options
    """The service that a claim describes. Raises KeyError or ValueError where it is no claim."""
    scaling = claim["spec"].get("scaling")
    down = ((scaling or {}).get("behavior") or {}).get("scaleDown") or {}
    idle = (scaling or {}).get("idle")
    window = float(down.get("stabilizationWindowSeconds", settings.DEFAULT.stabilization_seconds))
    least = int((scaling or {}).get("minReplicas", 1))
    return world.Service(
        curve=found,
        requests=reading.floor(claim),
        limits=reading.ceiling(claim),
        replicas=assumed.pop("replicas") or max(1, least),
        scales=scaling is not None,
        min_replicas=least,
        max_replicas=int((scaling or {}).get("maxReplicas", 1)),
        idle_seconds=None if idle is None else float(idle["afterSeconds"]),
        rule=replace(settings.DEFAULT, stabilization_seconds=window),
        **assumed,
    )


def _load_in(path: Path) -> list[float]:
    """The rate of every second of a file. Raises Fault."""
    try:
        return rates.parsed(path.read_text())
    except (ValueError, UnicodeDecodeError) as error:
        raise Fault(f"{path}: {error}") from error


def _claim_of(access: Access, name: str) -> Object:
    return access.asked(lambda session: session.cluster.get(VGPU_CLAIMS, name, session.namespace))


def _chosen(claim: Object, cost: float | None, points: str | None, **assumed: Any) -> world.Service:  # noqa: ANN401 -- options
    """The service to play. Raises Fault for what is no claim, UsageError for what is no curve."""
    try:
        found = curve(cost, points, ceiling=reading.ceiling(claim).compute_percent)
        return service(claim, found, **assumed)
    except (KeyError, TypeError, ValueError) as error:
        raise Fault(
            f"expected a complete VGPUClaim, found: {error}; apply it with --dry-run=server"
        ) from error


def _claim_in(path: Path) -> Object:
    """The first VGPUClaim of a manifest file. Raises Fault."""
    try:
        documents = list(yaml.safe_load_all(path.read_text()))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise Fault(f"expected a manifest in {path}, found: {error}") from error
    found = [each for each in documents if isinstance(each, dict) and each.get("kind") == "VGPUClaim"]
    if not found:
        raise Fault(f"expected a VGPUClaim in {path}, found none")
    claim: Object = found[0]
    return claim


def to_json(result: outcome.Outcome, played: world.World, moments: list[world.Moment]) -> dict[str, Any]:
    """The run for programs."""
    return {
        "assumptions": ASSUMED,
        "outcome": {_camel(name): value for name, value in asdict(result).items()},
        "decisions": [{_camel(name): value for name, value in asdict(each).items()} for each in played.made],
        "seconds": [
            {
                "rate": m.rate,
                "replicas": m.replicas,
                "ready": m.ready,
                "percent": m.percent,
                "queued": m.queued,
            }
            for m in moments
        ],
    }


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(each.title() for each in rest)


def show(result: outcome.Outcome, played: world.World, moments: list[world.Moment]) -> None:
    """Writes the run for people: the answer, the picture, then the decisions."""
    console = drawing.console()
    late = 100 * result.late_seconds / result.seconds
    saved = 100 * (1 - result.gpu_hours / result.fixed_gpu_hours) if result.fixed_gpu_hours else 0.0
    console.print(
        f"{result.late_seconds:,} of {result.seconds:,} seconds late ({late:.1f} %), "
        f"longest wait {result.longest_wait:,} s, {result.gpu_hours:.3g} GPU-hours"
    )
    console.print(
        f"fixed for the peak: {words.counted(result.fixed_replicas, 'slice')} at the ceiling, "
        f"{result.fixed_gpu_hours:.3g} GPU-hours ({saved:.0f} % saved); "
        f"fixed at the floor: {result.floor_late_seconds:,} seconds late"
    )
    console.print()
    for title, series in _series(moments):
        line = drawing.spark(series)
        console.print(f"{title:<9} {line}  up to {max(series):.4g}")
    console.print()
    rows = [
        (f"{m.second} s", m.action, m.reason, str(m.replicas), words.compute(m.percent), m.message)
        for m in played.made[:LISTED]
    ]
    console.print(drawing.table(("AT", "ACTION", "REASON", "REPLICAS", "COMPUTE", "MESSAGE"), rows))
    if len(played.made) > LISTED:
        console.print(f"{len(played.made) - LISTED:,} decisions more: -o json")
    console.print(f"\n{ASSUMED}")


def _series(moments: list[world.Moment]) -> list[tuple[str, list[float]]]:
    """Four lines, each point the largest of its part of the time."""
    size = max(1, -(-len(moments) // COLUMNS))
    parts = [moments[at : at + size] for at in range(0, len(moments), size)]
    return [
        ("rate", [max(each.rate for each in part) for part in parts]),
        ("compute %", [float(max(each.percent for each in part)) for part in parts]),
        ("replicas", [float(max(each.ready for each in part)) for part in parts]),
        ("queued", [max(each.queued for each in part) for part in parts]),
    ]


@click.command()
@click.argument("load", metavar="RATES", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--claim", "name", metavar="NAME", help="The claim, from the cluster.")
@click.option(
    "-f",
    "--filename",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The claim, from a file.",
)
@click.option(
    "--cost", type=click.FloatRange(min=0, min_open=True), help="Percent of a GPU for one unit a second."
)
@click.option("--curve", "points", metavar="PERCENT=RATE,...", help="Instead: the rates that shares serve.")
@click.option("--replicas", type=click.IntRange(min=1), help="Replicas at the beginning; else minReplicas.")
@click.option(
    "--start-seconds", type=click.IntRange(min=0), default=30, show_default=True, help="A replica's start."
)
@click.option(
    "--room",
    "room_percent",
    type=click.IntRange(0, 100),
    default=100,
    show_default=True,
    help="Percent that each device has free beyond the floor.",
)
@click.option(
    "--interval", type=click.IntRange(1, 60), default=5, show_default=True, help="Seconds between decisions."
)
@click.option(
    "--max-wait",
    type=click.FloatRange(min=0),
    default=1.0,
    show_default=True,
    help="Seconds that are not late.",
)
@options.output
@options.access
def simulate(
    access: Access,
    form: str,
    load: Path,
    name: str | None,
    filename: Path | None,
    cost: float | None,
    points: str | None,
    max_wait: float,
    **assumed: Any,  # noqa: ANN401 -- passed on to the service
) -> None:
    """Play a file of RATES against a claim's settings, before one trusts them.

    The file has one rate a line and second, or lines of seconds,rate. The decisions are the operator's; the
    service is a simple queue. For example: kubectl vgpu simulate day.csv -f claim.yaml --cost 2.5
    """
    if (name is None) == (filename is None):
        raise click.UsageError("expected either --claim or --filename")
    series = _load_in(load)
    claim = _claim_in(filename) if filename else _claim_of(access, str(name))
    chosen = _chosen(claim, cost, points, **assumed)
    played = world.World(service=chosen)
    moments = list(played.play(series))
    still = world.World(service=replace(chosen, interval=len(series) + 1))
    result = outcome.of(
        moments, list(still.play(series)), chosen, decisions=len(played.made), max_wait=max_wait
    )
    if output.structured(form):
        output.emit(to_json(result, played, moments), form)
    else:
        show(result, played, moments)
