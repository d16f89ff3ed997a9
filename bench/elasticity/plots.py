"""Pictures of runs: load, latency, slices and replicas over time, one SVG per load, one line per policy.

What is drawn was recorded in ``timeline``. SVG is written by hand: four panels of lines need no library.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from elasticity import timeline

WIDTH, HEIGHT, LEFT, TOP, GAP = 920, 130, 60, 46, 34
COLOURS = ("#0b6e4f", "#c1440e", "#3b6fb6", "#8a4fae", "#b58900", "#5f6b6d", "#d33682", "#2aa198", "#444444")
POINTS = 460
"""At most so many points a line: the largest of the seconds between two is drawn."""

HIGHEST_LATENCY = 5.0
"""Objectives; what is later is drawn here."""

Values = Sequence[float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One diagram: what it shows, and the values of each line."""

    title: str
    lines: Mapping[str, Values]


def page(title: str, runs: Mapping[str, timeline.Timeline]) -> str:
    """The SVG of these runs of one load, by the name of each line."""
    panels = _panels(runs)
    height = TOP + len(panels) * (HEIGHT + GAP)
    drawn = "".join(_panel(each, list(runs), TOP + i * (HEIGHT + GAP)) for i, each in enumerate(panels))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}"'
        f' height="{height}" font-family="sans-serif" font-size="11">'
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>'
        f'<text x="{LEFT}" y="16" font-size="14">{escape(title)}</text>{_legend(list(runs))}{drawn}</svg>\n'
    )


def _panels(runs: Mapping[str, timeline.Timeline]) -> list[Panel]:
    first = next(iter(runs.values()))
    latency = {name: [_capped(value) for value in run.p99] for name, run in runs.items()}
    return [
        Panel(title="load: GPUs needed on slices of the efficient size", lines={"": first.needed}),
        Panel(title="p99 latency of each second, in objectives (1 is late)", lines=latency),
        Panel(title="slices: GPUs allocated", lines={name: run.allocated for name, run in runs.items()}),
        Panel(title="replicas that serve", lines={name: run.serving for name, run in runs.items()}),
    ]


def _capped(value: float | None) -> float | None:
    return None if value is None else min(value, HIGHEST_LATENCY)


def _legend(names: Sequence[str]) -> str:
    step = (WIDTH - LEFT) // max(1, len(names))
    return "".join(
        f'<text x="{LEFT + i * step}" y="34" fill="{_colour(i)}">{escape(name)}</text>'
        for i, name in enumerate(names)
    )


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


def _panel(panel: Panel, names: Sequence[str], top: int) -> str:
    most = max((value for line in panel.lines.values() for value in line if value is not None), default=0.0)
    seconds = max(len(line) for line in panel.lines.values())
    lines = "".join(
        _line(values, top, most=most or 1.0, colour=_colour(names.index(name)) if name else "#222222")
        for name, values in panel.lines.items()
    )
    bottom = top + HEIGHT
    return (
        f'<text x="{LEFT}" y="{top + 10}">{escape(panel.title)}</text>'
        f'<text x="{LEFT - 6}" y="{top + 26}" text-anchor="end">{most:.3g}</text>'
        f'<text x="{LEFT - 6}" y="{bottom}" text-anchor="end">0</text>'
        f'<text x="{WIDTH - 10}" y="{bottom + 12}" text-anchor="end">{seconds} s</text>'
        f'<line x1="{LEFT}" x2="{WIDTH - 10}" y1="{bottom}" y2="{bottom}" stroke="#999999"/>{lines}'
    )


def _line(values: Values, top: int, *, most: float, colour: str) -> str:
    """A path that is interrupted where there is no value."""
    step = max(1, -(-len(values) // POINTS))
    wide, high = WIDTH - 10 - LEFT, HEIGHT - 18
    path, pen = [], "M"
    for start in range(0, len(values), step):
        known = [value for value in values[start : start + step] if value is not None]
        if not known:
            pen = "M"
            continue
        x = LEFT + wide * start / max(1, len(values) - 1)
        path.append(f"{pen}{x:.1f} {top + HEIGHT - high * max(known) / most:.1f}")
        pen = "L"
    return f'<path d="{" ".join(path)}" fill="none" stroke="{colour}" stroke-width="1.2"/>'
