"""What Prometheus answers, as numbers over time, and what can be wrong with them. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vgpu.elasticity import facts


@dataclass(frozen=True, slots=True)
class Series:
    """One line of an answer: its labels, and its points as (time, value), oldest first."""

    labels: Mapping[str, str]
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why there is no number to go by, in words for a condition."""

    reason: str


def only(answer: Sequence[Series] | Trouble, *, now: float, stale_seconds: float) -> Series | Trouble:
    """The one series that a query for one number must have, without what is no number.

    Trouble where there is none, more than one, only NaN, or nothing as new as asked for.
    """
    if isinstance(answer, Trouble):
        return answer
    if not answer:
        return Trouble("the query returns nothing")
    if len(answer) > 1:
        return Trouble(f"the query returns {len(answer)} series, one is expected: aggregate them")
    points = tuple(point for point in answer[0].points if math.isfinite(point[1]))
    if not points:
        return Trouble("the query returns no finite number")
    age = now - points[-1][0]
    if age > stale_seconds:
        return Trouble(f"the newest value is {age:.0f} s old")
    return Series(answer[0].labels, points)


def samples(series: Series) -> tuple[facts.Sample, ...]:
    """The points of a rate of work."""
    return tuple(facts.Sample(at=at, rate=value) for at, value in series.points)


def newest(series: Series) -> float:
    """The value of the last point."""
    return series.points[-1][1]


def parsed(result: object) -> tuple[Series, ...]:
    """The series of a range query's JSON. Raises ValueError for what is no such answer."""
    if not isinstance(result, list):
        raise ValueError(f"expected a list of series, found {type(result).__name__}")
    try:
        return tuple(_series(entry) for entry in result)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"expected series with labels and values, found something else: {error}") from error


def _series(entry: Mapping[str, object]) -> Series:
    labels, points = entry["metric"], entry["values"]
    if not isinstance(labels, Mapping) or not isinstance(points, list):
        raise TypeError("metric or values missing")
    return Series(
        {str(name): str(value) for name, value in labels.items()},
        tuple((float(at), float(value)) for at, value in points),
    )
