"""How long a batch takes on a slice of each size, from the published profiles of five models.

Source of the measurements: Lv et al., "Dilu", ASPLOS'25 (batch 1-32 on 10-100 % of a GPU). Assumed by us:
below 10 % latency grows in proportion, between the measurements it is linear, and a kernel uses no more of
the GPU than the least share at which its batch is within 5 % of its best latency.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

from vgpu import values
from vgpu.elasticity import work

SHARES = range(101)
OBJECTIVE = 5.0
"""A request should take no longer than this many latencies of a batch of one on a whole GPU."""

SATURATED = 1.05

MEMORY_GIB = {"resnet152": 4, "bert_base": 4, "roberta_large": 6, "gpt2_large": 10, "llama2": 18}
"""Weights, context and room for the largest batch; assumed, the source gives none."""


class BadProfileError(Exception):
    """The file is missing or is not a profile."""


@dataclass(frozen=True, slots=True)
class Profile:
    """One model: ``latency[share][batch]`` in seconds, ``saturation[batch]`` and ``most[share]``, a batch.

    ``most`` is the largest batch that, waited for once and computed once, still meets the objective.
    """

    name: str
    memory_bytes: int
    objective: float
    max_batch: int
    latency: tuple[tuple[float, ...], ...]
    saturation: tuple[int, ...]
    most: tuple[int, ...]
    curve: work.Curve


def read(path: Path) -> Profile:
    """The profile in a file of batch, share, latency, throughput; raises BadProfileError."""
    try:
        with path.open() as file:
            rows = [[float(cell) for cell in row] for row in csv.reader(file) if row]
        # A batch's time is batch / throughput: for language models one row's latency is that of one token.
        measured = {(round(share), round(batch)): batch / rate for batch, share, _, rate in rows}
        return _profile(path.stem.removeprefix("bs_sm_"), measured)
    except (OSError, ValueError, ZeroDivisionError) as error:
        raise BadProfileError(f"expected rows of batch, share, latency, rate in {path}: {error}") from error
    except (LookupError, StopIteration) as error:
        raise BadProfileError(f"expected every batch from 1 on at every share up to 100 in {path}") from error


def _profile(name: str, measured: dict[tuple[int, int], float]) -> Profile:
    shares = sorted({share for share, _ in measured})
    batches = sorted({batch for _, batch in measured})
    columns = {
        batch: _falling([_between(shares, [measured[s, batch] for s in shares], x) for x in SHARES])
        for batch in batches
    }
    latency = tuple(
        _rising([_row(batches, columns, share, b) for b in range(batches[-1] + 1)]) for share in SHARES
    )
    objective = OBJECTIVE * latency[100][1]
    return Profile(
        name=name,
        memory_bytes=MEMORY_GIB.get(name, 8) * values.GIB,
        objective=objective,
        max_batch=batches[-1],
        latency=latency,
        saturation=_saturation(latency),
        most=tuple(_most(row, objective) for row in latency),
        curve=_curve(latency, objective),
    )


def _between(xs: list[int], ys: list[float], x: int) -> float:
    """Linear between the points, in inverse proportion below the first."""
    if x <= xs[0]:
        return ys[0] * xs[0] / max(x, 0.5)
    i = next(i for i, known in enumerate(xs) if known >= x)
    part = (x - xs[i - 1]) / (xs[i] - xs[i - 1])
    return ys[i - 1] + part * (ys[i] - ys[i - 1])


def _row(batches: list[int], columns: dict[int, list[float]], share: int, batch: int) -> float:
    return _between(batches, [columns[b][share] for b in batches], batch) if batch > 1 else columns[1][share]


def _falling(column: list[float]) -> list[float]:
    """Noise levelled: a larger share is never slower."""
    for i in range(1, len(column)):
        column[i] = min(column[i], column[i - 1])
    return column


def _rising(row: list[float]) -> tuple[float, ...]:
    """Noise levelled: a larger batch is never faster."""
    for i in range(1, len(row)):
        row[i] = max(row[i], row[i - 1])
    return tuple(row)


def _saturation(latency: tuple[tuple[float, ...], ...]) -> tuple[int, ...]:
    batches = range(len(latency[100]))
    return tuple(
        next(s for s in SHARES if s and latency[s][b] <= SATURATED * latency[100][b]) for b in batches
    )


def _most(row: tuple[float, ...], objective: float) -> int:
    return max((b for b in range(1, len(row)) if 2 * row[b] <= objective), default=1)


def _curve(latency: tuple[tuple[float, ...], ...], objective: float) -> work.Curve:
    points = []
    for share in range(2, 101):
        most = _most(latency[share], objective)
        if 2 * latency[share][most] <= objective:
            points.append((share, max(b / latency[share][b] for b in range(1, most + 1))))
    return work.curve(points, floor_percent=points[0][0])
