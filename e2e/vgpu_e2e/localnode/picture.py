"""Lines over time as one self-contained SVG; what they mean is the caller's affair."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT, LEFT, RIGHT, TOP, GAP = 860, 120, 56, 16, 40, 30
COLOURS = ("#0b6e4f", "#c1440e", "#3b6fb6", "#8a4fae")

Points = Sequence[tuple[float, float]]
"""Seconds and values; what is not finite is a gap."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One diagram: what it shows in which unit, and its lines by the same names in every panel."""

    title: str
    lines: Mapping[str, Points]
    stairs: bool = False  # values that hold until the next one


def svg(title: str, panels: Sequence[Panel]) -> str:
    """Return the picture, panels below each other on one time axis."""
    names = list(dict.fromkeys(name for panel in panels for name in panel.lines))
    end = max((at for panel in panels for line in panel.lines.values() for at, _ in line), default=1.0)
    height = TOP + len(panels) * (HEIGHT + GAP)
    legend = "".join(
        f'<text x="{WIDTH - RIGHT - 90 * (len(names) - i)}" y="18" fill="{COLOURS[i % len(COLOURS)]}">'
        f"{escape(name)}</text>"
        for i, name in enumerate(names)
    )
    drawn = "".join(
        _panel(panel, names, TOP + i * (HEIGHT + GAP), end or 1.0) for i, panel in enumerate(panels)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}"'
        f' height="{height}" font-family="sans-serif" font-size="11">'
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>'
        f'<text x="{LEFT}" y="18" font-size="14">{escape(title)}</text>{legend}{drawn}</svg>\n'
    )


def _panel(panel: Panel, names: Sequence[str], top: int, end: float) -> str:
    values = [value for line in panel.lines.values() for _, value in line if math.isfinite(value)]
    most = max(values, default=0.0) or 1.0
    bottom, right = top + HEIGHT, WIDTH - RIGHT
    lines = "".join(
        _line(points, COLOURS[names.index(name) % len(COLOURS)], top, most, end, stairs=panel.stairs)
        for name, points in panel.lines.items()
    )
    return (
        f'<text x="{LEFT}" y="{top - 6}">{escape(panel.title)}</text>'
        f'<path d="M{LEFT} {top}V{bottom}H{right}" fill="none" stroke="#999999"/>'
        f'<text x="{LEFT - 6}" y="{top + 8}" text-anchor="end">{most:.3g}</text>'
        f'<text x="{LEFT - 6}" y="{bottom}" text-anchor="end">0</text>'
        f'<text x="{right}" y="{bottom + 14}" text-anchor="end">{end:.0f} s</text>{lines}'
    )


def _line(points: Points, colour: str, top: int, most: float, end: float, *, stairs: bool) -> str:
    path, pen = "", "M"
    for at, value in points:
        if not math.isfinite(value):
            pen = "M"
            continue
        x, y = LEFT + at / end * (WIDTH - LEFT - RIGHT), top + HEIGHT * (1 - value / most)
        path += f"H{x:.1f}V{y:.1f}" if stairs and pen == "L" else f"{pen}{x:.1f} {y:.1f}"
        pen = "L"
    return f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>' if path else ""
