"""Decisions over time as one SVG: a line for each claim, a mark for each decision."""

from datetime import UTC, datetime
from html import escape

from vgpu_cli.reporting.facts import Decision

WIDTH, LEFT, LINE, TOP = 920, 200, 24, 28
CLAIMS = 60
"""Lines drawn; claims of which something was decided last come first."""

TICKS = 6
LEGEND = "A triangle is more or less, a dot what was said, red what is in the way. Times are UTC."
_UP, _DOWN = ("Grow", "Growing", "ScaleUp", "Wake"), ("Shrink", "Shrinking", "ScaleDown", "Sleep")


def svg(decisions: tuple[Decision, ...]) -> str:
    """The picture; a sentence where nothing was decided."""
    if not decisions:
        return "<p>No decision is known: none was made lately, or Events may not be read.</p>"
    claims = list(dict.fromkeys(each.claim for each in reversed(decisions)))[:CLAIMS]
    first, last = decisions[0].at, decisions[-1].at
    span = max(1.0, last - first)
    height = TOP + LINE * len(claims) + 8
    lines = "".join(_line(claim, number) for number, claim in enumerate(claims))
    marks = "".join(
        _mark(each, x=LEFT + (each.at - first) / span * (WIDTH - LEFT - 20), y=_y(claims.index(each.claim)))
        for each in decisions
        if each.claim in claims
    )
    ticks = "".join(_tick(first + part / TICKS * span, part) for part in range(TICKS + 1))
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img"'
        f' aria-label="decisions over time">{ticks}{lines}{marks}</svg>'
    )


def _y(number: int) -> int:
    return TOP + LINE * number + LINE // 2


def _line(claim: str, number: int) -> str:
    y = _y(number)
    return (
        f'<text x="0" y="{y + 4}">{escape(claim[:30])}</text>'
        f'<line class="axis" x1="{LEFT}" x2="{WIDTH - 20}" y1="{y}" y2="{y}"/>'
    )


def _tick(at: float, part: int) -> str:
    x = LEFT + part / TICKS * (WIDTH - LEFT - 20)
    anchor = "end" if part == TICKS else "middle"
    return f'<text class="tick" x="{x:.0f}" y="14" text-anchor="{anchor}">{_clock(at)}</text>'


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S")


def _mark(decision: Decision, *, x: float, y: int) -> str:
    """Up and down as triangles, everything else as a dot; warnings in their own colour."""
    kind = "warning" if decision.warning else "done"
    title = f"<title>{escape(f'{_clock(decision.at)} {decision.action}: {decision.message}')}</title>"
    if decision.action in _UP:
        points = f"{x - 5:.1f},{y + 4} {x + 5:.1f},{y + 4} {x:.1f},{y - 6}"
        return f'<polygon class="up {kind}" points="{points}">{title}</polygon>'
    if decision.action in _DOWN:
        points = f"{x - 5:.1f},{y - 4} {x + 5:.1f},{y - 4} {x:.1f},{y + 6}"
        return f'<polygon class="down {kind}" points="{points}">{title}</polygon>'
    return f'<circle class="{kind}" cx="{x:.1f}" cy="{y}" r="4">{title}</circle>'
