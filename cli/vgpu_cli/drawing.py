"""The one picture and the one kind of table: floor █, elastic part ▓, free ░, columns as kubectl has them.

What is drawn is decided by the commands; ``NO_COLOR`` and pipes are respected by the console.
"""

import sys
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

GLYPHS = "█▓░"
PLAIN = "#+."
LEVELS = "▁▂▃▄▅▆▇█"
PLAIN_LEVELS = "_.-=+*#@"
STYLES = ("green", "cyan", "bright_black")
PIPE_COLUMNS = 500
"""Lines into a pipe are not wrapped."""

_OF_STATUS = {"True": "green", "False": "red", "Unknown": "yellow"}


def console() -> Console:
    """Where a command writes its answer."""
    terminal = sys.stdout.isatty()
    return Console(markup=False, highlight=False, soft_wrap=False, width=None if terminal else PIPE_COLUMNS)


def bar(floor: int, allocated: int, capacity: int, *, width: int = 20, encoding: str | None = None) -> Text:
    """What of a capacity is promised, lent beyond that, and free; any positive part shows at least one cell.

    The units of the three are the same. More than there is fills the bar.
    """
    promised = _cells(min(floor, allocated), capacity, width)
    taken = max(promised, _cells(allocated, capacity, width))
    if allocated > floor > 0 and taken == promised:
        taken, promised = max(taken, 2), max(taken, 2) - 1
    glyphs = (*(GLYPHS if _can_write(GLYPHS, encoding) else PLAIN),)
    drawn = Text()
    for glyph, style, count in zip(glyphs, STYLES, (promised, taken - promised, width - taken), strict=True):
        drawn.append(glyph * max(0, count), style=style)
    return drawn


def _cells(part: int, whole: int, width: int) -> int:
    if whole <= 0 or part <= 0:
        return 0
    return max(1, min(width, round(part * width / whole)))


def legend(encoding: str | None = None) -> str:
    """What the bar's signs mean."""
    glyphs = GLYPHS if _can_write(GLYPHS, encoding) else PLAIN
    return f"{glyphs[0]} promised  {glyphs[1]} elastic  {glyphs[2]} free"


def spark(points: Sequence[float], *, most: float | None = None, encoding: str | None = None) -> str:
    """A line of small columns, the largest (or ``most``) as the highest."""
    levels = LEVELS if _can_write(LEVELS, encoding) else PLAIN_LEVELS
    top = max([most or 0.0, *points]) or 1.0
    return "".join(levels[min(len(levels) - 1, int(max(0.0, each) / top * len(levels)))] for each in points)


def status(word: str) -> Text:
    """A condition's status in its colour."""
    return Text(word, style=_OF_STATUS.get(word, ""))


def table(columns: Sequence[str], rows: Iterable[Sequence[str | Text]]) -> Table:
    """Columns without lines; an empty cell is shown as kubectl shows it."""
    drawn = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    for column in columns:
        drawn.add_column(column, no_wrap=column != "MESSAGE", overflow="fold")
    for row in rows:
        drawn.add_row(*(each if isinstance(each, Text) else Text(each or "-") for each in row))
    return drawn


def _can_write(glyphs: str, encoding: str | None) -> bool:
    """Whether an encoding (that of standard output) has these signs."""
    try:
        glyphs.encode(encoding or sys.stdout.encoding or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
