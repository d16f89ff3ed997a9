"""What a run measured, as a table for people and as JSON for machines."""

import dataclasses
from collections.abc import Sequence

HEADER = ("run", "nodes", "pods", "pods/s", "filter p50/p99 ms", "bind p50/p99 ms", "of stock")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run: pods bound per second, and the extender's latencies in milliseconds where it took part."""

    name: str
    nodes: int
    pods: int
    seconds: float
    filter_p50_ms: float | None = None
    filter_p99_ms: float | None = None
    bind_p50_ms: float | None = None
    bind_p99_ms: float | None = None

    @property
    def pods_per_second(self) -> float:
        """Pods bound per second from the scheduler's start to the last bind."""
        return self.pods / self.seconds


def table(runs: Sequence[Run]) -> str:
    """Lines with one run each; the last column is the share of the first run's rate."""
    rows: list[tuple[str, ...]] = [HEADER, *(_row(run, runs[0]) for run in runs)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)) for row in rows)


def _row(run: Run, stock: Run) -> tuple[str, ...]:
    return (
        run.name,
        str(run.nodes),
        str(run.pods),
        f"{run.pods_per_second:.1f}",
        _pair(run.filter_p50_ms, run.filter_p99_ms),
        _pair(run.bind_p50_ms, run.bind_p99_ms),
        f"{run.pods_per_second / stock.pods_per_second:.0%}",
    )


def _pair(p50: float | None, p99: float | None) -> str:
    return "-" if p50 is None or p99 is None else f"{p50:.1f} / {p99:.1f}"


def quantile(buckets: Sequence[tuple[float, float]], wanted: float) -> float:
    """The quantile of a cumulative Prometheus histogram, straight within its bucket as Prometheus does.

    ``buckets`` are (upper bound, count so far) in ascending order, the last bound infinite. An answer in the
    last bucket is its lower bound. Raises ValueError without a single observation.
    """
    total = buckets[-1][1] if buckets else 0.0
    if not total:
        raise ValueError("expected a histogram with observations, found none")
    rank, lower, below = wanted * total, 0.0, 0.0
    for bound, count in buckets:
        if count >= rank:
            if bound == float("inf"):
                return lower
            return lower + (bound - lower) * (rank - below) / max(count - below, 1.0)
        lower, below = bound, count
    return lower
