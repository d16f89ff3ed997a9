"""What was measured, as a table for people and as JSON for machines."""

import dataclasses
import os
import sys
from collections.abc import Iterator, Sequence

HEADER = ("run", "nodes", "pods", "pods/s", "CPU ms/pod", "filter p50/p99 ms", "bind p50/p99 ms", "of stock")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run: pods bound and in which time; what each process has spent; where we took part, our latencies.

    ``cpu_seconds`` are by process, until a moment after the last Binding, without the machine's other work.
    """

    name: str
    nodes: int
    pods: int
    seconds: float
    filter_p50_ms: float | None = None
    filter_p99_ms: float | None = None
    bind_p50_ms: float | None = None
    bind_p99_ms: float | None = None
    cpu_seconds: dict[str, float] = dataclasses.field(default_factory=dict)
    our_memory_mib: float | None = None

    @property
    def pods_per_second(self) -> float:
        """Pods bound per second from the first creation to the last bind."""
        return self.pods / self.seconds

    @property
    def cpu_ms_per_pod(self) -> float:
        """CPU milliseconds of all processes together for one pod."""
        return 1000 * sum(self.cpu_seconds.values()) / max(self.pods, 1)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """From the creation of a pod that fits nowhere to the reasons on its claim."""

    seconds: float
    message: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Rebuild:
    """From the start of a killed extender to /readyz and to the first pod placed; what that has cost."""

    slices: int
    ready_seconds: float
    answer_seconds: float
    cpu_seconds: float
    memory_mib: float


@dataclasses.dataclass(slots=True, kw_only=True)
class Report:
    """All there is so far; ``load`` is the load of the machine before each part, one minute's mean."""

    runs: list[Run] = dataclasses.field(default_factory=list)
    verdict: Verdict | None = None
    rebuild: Rebuild | None = None
    load: dict[str, float] = dataclasses.field(default_factory=dict)

    def look(self, part: str) -> None:
        """Notes how busy the machine is before a part."""
        self.load[part] = round(os.getloadavg()[0], 1)


def lines(report: Report) -> Iterator[str]:
    """The table and a line for each other figure."""
    if report.runs:
        yield table(report.runs)
    for run in report.runs:
        spent = (f"{name} {1000 * each / max(run.pods, 1):.1f}" for name, each in run.cpu_seconds.items())
        yield f"CPU ms per pod, {run.name}: {run.cpu_ms_per_pod:.1f}: {', '.join(spent)}"
        if run.our_memory_mib is not None:
            yield f"our processes: {run.our_memory_mib:.0f} MiB resident together"
    if report.verdict is not None:
        yield f"does not fit: {report.verdict.seconds:.2f} s until its claim says: {report.verdict.message}"
    if report.rebuild is not None:
        found = report.rebuild
        yield (
            f"killed with {found.slices} slices: ready after {found.ready_seconds:.1f} s, first pod placed"
            f" after {found.answer_seconds:.1f} s, {found.cpu_seconds:.1f} CPU seconds,"
            f" {found.memory_mib:.0f} MiB"
        )
    yield "load of the machine before: " + ", ".join(f"{part} {load}" for part, load in report.load.items())


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
        f"{run.cpu_ms_per_pod:.1f}",
        _pair(run.filter_p50_ms, run.filter_p99_ms),
        _pair(run.bind_p50_ms, run.bind_p99_ms),
        f"{run.pods_per_second / stock.pods_per_second:.0%}" if stock.pods else "-",
    )


def _pair(p50: float | None, p99: float | None) -> str:
    return "-" if p50 is None or p99 is None else f"{p50:.1f} / {p99:.1f}"


def milliseconds(buckets: Sequence[tuple[float, float]], wanted: float) -> float | None:
    """The quantile in milliseconds, None without a single observation."""
    return 1000 * quantile(buckets, wanted) if buckets and buckets[-1][1] else None


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


def progress(line: str) -> None:
    """Tells those who wait how it goes."""
    print(f"bench-scheduling: {line}", file=sys.stderr, flush=True)
