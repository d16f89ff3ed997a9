"""A load from a file: units of work per second, one line a second, or lines of ``seconds,rate``."""

import itertools
import math

MOST_SECONDS = 7 * 86_400
"""A week; longer files are refused before they fill the memory."""


def parsed(text: str) -> list[float]:
    """The rate of every second. Raises ValueError with the line that is wrong.

    In lines of two numbers the first is a time, and each rate lasts until the next; the last one lasts as
    long as the one before it. A first line of words is a heading.
    """
    rows = [
        _row(number, line) for number, line in enumerate(text.splitlines(), start=1) if _counts(number, line)
    ]
    if not rows:
        raise ValueError("expected lines of a rate, or of seconds,rate; found none")
    if len({len(row) for row in rows}) > 1:
        raise ValueError("expected the same number of values in every line; use one or two throughout")
    seconds = [row[0] for row in rows] if len(rows[0]) == 1 else _held(rows)
    if len(seconds) > MOST_SECONDS:
        raise ValueError(
            f"expected at most {MOST_SECONDS:,} seconds, found {len(seconds):,}; shorten the file"
        )
    return seconds


def _counts(number: int, line: str) -> bool:
    """Whether a line is part of the load: not empty, no remark, no heading."""
    words = line.strip()
    return bool(words) and not words.startswith("#") and not (number == 1 and words[0].isalpha())


def _row(number: int, line: str) -> tuple[float, ...]:
    parts = line.replace(";", ",").split(",")
    try:
        row = tuple(float(part) for part in parts)
    except ValueError:
        row = ()
    if not 1 <= len(row) <= 2 or not all(math.isfinite(each) and each >= 0 for each in row):
        raise ValueError(
            f"line {number}: expected a rate, or seconds,rate, from 0 on; found {line.strip()!r}"
        )
    return row


def _held(rows: list[tuple[float, ...]]) -> list[float]:
    times = [row[0] for row in rows]
    if any(later <= earlier for earlier, later in itertools.pairwise(times)):
        raise ValueError("expected times that rise from line to line; sort the file")
    if times[-1] - times[0] > MOST_SECONDS:
        raise ValueError(f"expected at most {MOST_SECONDS:,} seconds, found {times[-1] - times[0]:,.0f}")
    last = times[-1] - times[-2] if len(times) > 1 else 1.0
    ends = [*times[1:], times[-1] + last]
    return [
        row[1]
        for row, end in zip(rows, ends, strict=True)
        for _ in range(max(0, round(end - times[0]) - round(row[0] - times[0])))
    ]
