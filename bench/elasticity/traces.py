"""Loads: request rates, one value per second, from public traces or from a file of one's own.

Scaling a load to a service and drawing its requests is done in ``arrivals``. Formats: plain numbers, one per
second; or a csv of requests whose first column is a time. Sources: see the list in ``LOADS``.
"""

import csv
import datetime
import gzip
import math
import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

DATA = Path(__file__).parents[2] / ".." / "shared" / "data"

SMOOTHED_SECONDS = 10
"""Requests of a trace are counted over this time: scaled up, the noise of small counts would become load."""

SERVEGEN_SQUEEZE = 10
"""ServeGen's windows of ten minutes last one minute here, so that half an hour holds five hours of drift."""

SERVEGEN_FROM = 6 * 3600
"""Where in the trace the hours begin: the morning's rise of the first day."""


SHORTEST_SECONDS, LONGEST_SECONDS = 30, 7 * 24 * 3600


class BadTraceError(Exception):
    """The file is missing or of no known format."""


def names() -> list[str]:
    """The loads that come with the data set."""
    return list(LOADS)


SMOOTH = (
    "autothrottle-diurnal",
    "autothrottle-noisy",
    "autothrottle-bursty",
    "azure-conv",
    "mooncake",
    "servegen-small",
    "servegen-large",
)
"""Loads without sudden multiples: every policy with enough GPUs can keep 99 % of their requests in time."""


def load(name: str, *, seconds: int, seed: int) -> list[float]:
    """The rates of a named load or of the file of that name, cut to ``seconds``; raises BadTraceError."""
    rates = LOADS[name](seed) if name in LOADS else from_file(Path(name))
    if len(rates) < SHORTEST_SECONDS:
        raise BadTraceError(f"expected {SHORTEST_SECONDS} seconds or more in {name}, found {len(rates)}")
    if not any(rates[:seconds]):
        raise BadTraceError(f"expected a rate above zero in the first {seconds} s of {name}, found none")
    return rates[:seconds]


def from_file(path: Path) -> list[float]:
    """Rates from one number per line, or from the times of requests."""
    lines = _lines(path)
    try:
        rates = [float(line) for line in lines if line.strip()]
    except ValueError:
        return _counted(_times(path, lines), path)
    if any(not 0 <= rate < float("inf") for rate in rates):
        raise BadTraceError(f"expected rates that are finite and not negative in {path}")
    return rates


def _lines(path: Path) -> list[str]:
    try:
        with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
            return file.read().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadTraceError(f"expected a trace at {path}: {error}") from error


def _times(path: Path, lines: list[str]) -> list[float]:
    rows = list(csv.reader(lines))
    try:
        return [_seconds(row[0], header=rows[0][0]) for row in rows[1:] if row]
    except (ValueError, IndexError) as error:
        raise BadTraceError(
            f"expected a number per line or requests with a time first in {path}: {error}"
        ) from error


def _seconds(text: str, *, header: str) -> float:
    """Seconds from a number (milliseconds where the column is called ``timestamp``) or from a date."""
    try:
        return float(text) / (1000 if header == "timestamp" else 1)
    except ValueError:
        return datetime.datetime.fromisoformat(text[:26]).replace(tzinfo=datetime.UTC).timestamp()


def _counted(times: Sequence[float], path: Path) -> list[float]:
    """Requests per second, each second the mean of the ten around it."""
    ordered = sorted(times)
    if not ordered or not all(map(math.isfinite, ordered)):
        raise BadTraceError(f"expected requests with finite times in {path}")
    if ordered[-1] - ordered[0] > LONGEST_SECONDS:
        raise BadTraceError(f"expected requests within seven days in {path}, with times in seconds")
    counts = [0.0] * (int(ordered[-1] - ordered[0]) + 1)
    for time in ordered:
        counts[int(time - ordered[0])] += 1
    half = SMOOTHED_SECONDS // 2
    windows = (counts[max(0, i - half) : i + half] for i in range(len(counts)))
    return [sum(window) / len(window) for window in windows]


def _servegen(model: str) -> Callable[[int], list[float]]:
    def read(seed: int) -> list[float]:
        return _from_clients(DATA / "servegen" / f"clients_{model}.csv.gz", random.Random(seed))

    return read


def _from_clients(path: Path, draw: random.Random) -> list[float]:
    """Totals per window from the clients' rates, with the burstiness of their sum in bins of ten seconds."""
    means: dict[float, float] = defaultdict(float)
    variances: dict[float, float] = defaultdict(float)
    for row in csv.DictReader(_lines(path)):
        window = (float(row["timestamp"]) - SERVEGEN_FROM) // 600
        if 0 <= window < 6 * 24:
            means[window] += float(row["rate"])
            variances[window] += float(row["rate"]) * float(row["cv"]) ** 2
    per_window = 600 // SERVEGEN_SQUEEZE // SMOOTHED_SECONDS
    bins = [
        _bursty(means[window], variances[window] / SMOOTHED_SECONDS, draw)
        for window in sorted(means)  # windows that report nothing are gaps of the collection, not silence
        for _ in range(per_window)
    ]
    return [
        bins[i] + (bins[i + 1] - bins[i]) * part / SMOOTHED_SECONDS
        for i in range(len(bins) - 1)
        for part in range(SMOOTHED_SECONDS)
    ]


def _bursty(mean: float, variance: float, draw: random.Random) -> float:
    return draw.gammavariate(mean * mean / variance, variance / mean) if variance > 0 else mean


def _file(*parts: str) -> Callable[[int], list[float]]:
    return lambda _: from_file(DATA.joinpath(*parts))


LOADS: dict[str, Callable[[int], list[float]]] = {
    "autothrottle-diurnal": _file("autothrottle_rps", "diurnal.txt.gz"),
    "autothrottle-noisy": _file("autothrottle_rps", "noisy.txt.gz"),
    "autothrottle-bursty": _file("autothrottle_rps", "bursty.txt.gz"),
    "azure-code": _file("azure_llm_2023", "AzureLLMInferenceTrace_code.csv.gz"),
    "azure-conv": _file("azure_llm_2023", "AzureLLMInferenceTrace_conv.csv.gz"),
    "mooncake": _file("mooncake_fast25", "synthetic_trace.csv.gz"),
    "servegen-small": _servegen("m-small"),
    "servegen-mid": _servegen("m-mid"),
    "servegen-large": _servegen("m-large"),
    "servegen-r1": _servegen("deepseek-r1"),
    "dilu-bursty": _file("dilu_asplos25", "bursty.txt"),
    "dilu-periodic": _file("dilu_asplos25", "periodic.txt"),
    "dilu-sporadic": _file("dilu_asplos25", "sporadic.txt"),
}
"""Ten loads: Autothrottle (NSDI'24), Azure LLM 2023, Mooncake (FAST'25), ServeGen; and Dilu's three."""
