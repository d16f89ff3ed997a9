"""``top``: who holds most, live: claims sorted, with a line of how their compute went lately.

What they hold stands in their statuses; what they use comes from Prometheus, where there is one.
"""

import gc
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import click
from rich.console import Console, Group, RenderableType
from rich.text import Text

from vgpu import values
from vgpu_cli import drawing, ending, metrics, options, output, reading, words
from vgpu_cli.cluster import Session
from vgpu_cli.faults import Fault
from vgpu_cli.options import Access
from vgpu_kube import errors
from vgpu_kube.objects import Object

HISTORY = 24
"""Looks that the line remembers."""

SORTS = ("compute", "memory", "pods", "name")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One claim now; ``used`` is None where nobody measures it."""

    path: str
    pods: int
    floor: values.Amounts
    allocated: values.Amounts
    ceiling: values.Amounts
    used: values.Amounts | None
    reason: str


@dataclass(slots=True, kw_only=True)
class Screen:
    """What was seen before, for the lines."""

    seen: dict[str, deque[float]] = field(default_factory=dict)

    def remember(self, rows: list[Row]) -> None:
        """Takes in one look; claims that are gone are forgotten."""
        for gone in self.seen.keys() - {each.path for each in rows}:
            del self.seen[gone]
        for each in rows:
            line = self.seen.setdefault(each.path, deque(maxlen=HISTORY))
            line.append(float(each.allocated.compute_percent))


async def look(session: Session, scope: str | None, url: str | None) -> list[Row]:
    """Every claim of a namespace (None: of all), unsorted."""
    claims = await reading.claims(session.cluster, scope)
    used = await _used(session, url)
    return [_row(each, used.get(reading.path(each))) for each in claims]


def _row(claim: Object, used: values.Amounts | None) -> Row:
    status, count = claim.get("status") or {}, reading.slices(claim)
    return Row(
        path=reading.path(claim),
        pods=int(status.get("podCount", 0)),
        floor=reading.floor(claim).times(count),
        allocated=reading.amounts(status.get("allocated")),
        ceiling=reading.ceiling(claim).times(count),
        used=used,
        reason=reading.said(claim).reason,
    )


async def _used(session: Session, url: str | None) -> Mapping[str, values.Amounts]:
    """What each claim uses; nothing where Prometheus is not known or says nothing."""
    if url is None:
        return {}
    try:
        memory = await metrics.by_claim(session, metrics.fetch, url, "vgpu_claim_memory_used_bytes")
        ratio = await metrics.by_claim(session, metrics.fetch, url, "vgpu_claim_compute_used_ratio")
    except (errors.KubeError, OSError, ValueError):
        return {}
    return {
        path: values.Amounts(memory_bytes=int(size), compute_percent=round(100 * ratio.get(path, 0.0)))
        for path, size in memory.items()
    }


def ordered(rows: list[Row], sort: str) -> list[Row]:
    """The rows, the largest first; names in order."""
    keys = {
        "compute": lambda row: (-row.allocated.compute_percent, row.path),
        "memory": lambda row: (-row.allocated.memory_bytes, row.path),
        "pods": lambda row: (-row.pods, row.path),
        "name": lambda row: (0, row.path),
    }
    return sorted(rows, key=keys[sort])


def to_json(rows: list[Row]) -> list[dict[str, Any]]:
    """The rows for programs."""
    return [
        {
            "namespace": each.path.split("/")[0],
            "name": each.path.split("/")[1],
            "pods": each.pods,
            "promised": reading.amounts_to_json(each.floor),
            "allocated": reading.amounts_to_json(each.allocated),
            "ceiling": reading.amounts_to_json(each.ceiling),
            "used": None if each.used is None else reading.amounts_to_json(each.used),
            "reason": each.reason,
        }
        for each in rows
    ]


def drawn(rows: list[Row], screen: Screen, *, most: int | None) -> RenderableType:
    """The table of the first rows; the rest is counted in its last line."""
    shown = rows if most is None else rows[:most]
    cells = [
        (
            each.path,
            f"{each.pods:,}",
            drawing.bar(
                each.floor.memory_bytes, each.allocated.memory_bytes, each.ceiling.memory_bytes, width=12
            ),
            words.memory(each.allocated.memory_bytes),
            "" if each.used is None else words.memory(each.used.memory_bytes),
            words.compute(each.allocated.compute_percent),
            "" if each.used is None else words.compute(each.used.compute_percent),
            drawing.spark([*screen.seen.get(each.path, ())], most=float(each.ceiling.compute_percent)),
            each.reason,
        )
        for each in shown
    ]
    if len(rows) > len(shown):
        rest = rows[len(shown) :]
        held = sum((each.allocated for each in rest), values.NOTHING)
        more = f"{words.counted(len(rest), 'claim')} more"
        totals = (words.memory(held.memory_bytes), "", words.compute(held.compute_percent))
        cells.append((more, f"{sum(each.pods for each in rest):,}", Text(), *totals, "", "", ""))
    columns = ("CLAIM", "PODS", "", "MEMORY", "USED", "COMPUTE", "USED", "LATELY", "REASON")
    return drawing.table(columns, cells)


@click.command()
@click.option(
    "--sort", type=click.Choice(SORTS), default="compute", show_default=True, help="What comes first."
)
@click.option("--once", is_flag=True, help="Write one table and end, as into a pipe.")
@click.option(
    "--every",
    type=click.FloatRange(min=0.5),
    default=2.0,
    show_default=True,
    help="Seconds between two looks.",
)
@click.option(
    "--prometheus-url", metavar="URL", help="Where used amounts come from; else where the operator looks."
)
@options.everywhere
@options.output
@options.access
def top(
    access: Access, form: str, sort: str, every: float, prometheus_url: str | None, *, once: bool
) -> None:
    """Show claims by what they hold, again and again."""
    console, screen = drawing.console(), Screen()
    url = prometheus_url or access.asked(lambda session: metrics.configured(session))

    def now() -> list[Row]:
        return ordered(access.asked(lambda session: look(session, access.scope(session), url)), sort)

    if output.structured(form):
        output.emit(to_json(now()), form)
        return
    rows = now()
    screen.remember(rows)
    if once or not console.is_terminal:
        console.print(drawn(rows, screen, most=None))
        return
    _watched(now, rows, screen, console, every)


def _watched(
    look: Callable[[], list[Row]], rows: list[Row], screen: Screen, console: Console, every: float
) -> None:
    """The table on a screen of its own until Ctrl-C; a cluster that is away for a moment is told below it."""
    from rich.live import Live

    gc.enable()  # this one stays
    most = max(1, console.height - 4)
    with Live(console=console, screen=True, auto_refresh=False) as live:
        ending.heed_interrupt(live.stop)
        trouble = ""
        while True:
            live.update(Group(drawn(rows, screen, most=most), Text(trouble, style="red")), refresh=True)
            time.sleep(every)
            try:
                rows, trouble = look(), ""
                screen.remember(rows)
            except Fault as error:
                trouble = error.format_message()
