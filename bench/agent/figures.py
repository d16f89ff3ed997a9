"""Figures of a run, and how they are shown; pure."""

import dataclasses
from collections.abc import Iterable, Sequence


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One line of the table; `bound` says what is to be reached, in words."""

    name: str
    value: float
    unit: str
    bound: str = ""


def quantile(values: Sequence[float], part: float) -> float:
    """Return the value that so large a part of them does not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def spread(name: str, seconds: Sequence[float], *, bounds: tuple[str, str] = ("", "")) -> list[Figure]:
    """Return the median, the 99th percentile and the most of some durations, in milliseconds."""
    milliseconds = [1000 * each for each in seconds]
    return [
        Figure(name=f"{name}, p50", value=quantile(milliseconds, 0.50), unit="ms", bound=bounds[0]),
        Figure(name=f"{name}, p99", value=quantile(milliseconds, 0.99), unit="ms", bound=bounds[1]),
        Figure(name=f"{name}, most", value=max(milliseconds), unit="ms"),
    ]


def table(figures: Iterable[Figure]) -> str:
    """Return the figures as text."""
    rows = [("FIGURE", "VALUE", "", "TO REACH")]
    rows += [(each.name, f"{each.value:.4g}", each.unit, each.bound) for each in figures]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
                     for row in rows)  # fmt: skip
