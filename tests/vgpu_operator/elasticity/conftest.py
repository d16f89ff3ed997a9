"""A Prometheus in memory, whose metrics are functions of time."""

import re
from collections.abc import Callable, Sequence

import pytest

from vgpu_operator.elasticity import prometheus
from vgpu_operator.elasticity.series import Series

JOINED = re.compile(r'label_replace\(\n(.*?)\n, "(query_\w+)", "(\d+)", "", ""\)', re.DOTALL)
OURS = re.compile(r'label_replace\(max by \(namespace, claim, pod\) \((.*?)\), "signal", "(\w+)", "", ""\)')

Value = Callable[[float], float]


class Metrics:
    """Answers range queries; ``gone`` makes it unreachable, ``broken`` queries are rejected."""

    def __init__(self) -> None:
        self.queries: dict[str, list[tuple[dict[str, str], Value]]] = {}
        self.slices: dict[str, list[tuple[dict[str, str], Value]]] = {}
        self.broken: set[str] = set()
        self.gone = False
        self.asked: list[str] = []

    def answer(self, query: str, *values: Value) -> None:
        """From now on a query has a series for each of these values, told apart by a label."""
        self.queries[query] = [({"series": str(i)}, value) for i, value in enumerate(values)]

    def show(self, pod: str, *, claim: str = "llm", **signals: Value) -> None:
        """From now on a slice has these signals: percent, throttled, lent, peak, denials, denied."""
        labels = {"namespace": "team-a", "claim": claim, "pod": pod}
        for name, value in signals.items():
            kept = [(of, old) for of, old in self.slices.get(name, []) if of != labels]
            self.slices[name] = [*kept, (labels, value)]

    def shown(self, pod: str, signal: str) -> Value:
        """What a slice's signal has been so far."""
        found = (value for labels, value in self.slices.get(signal, []) if labels["pod"] == pod)
        return next(found, lambda _: 0.0)

    async def ranges(self, query: str, *, start: int, end: int) -> Sequence[Series]:
        """As prometheus.Source promises."""
        self.asked.append(query)
        if self.gone:
            raise prometheus.Away("Prometheus cannot be reached: ConnectionError")
        if any(each in query for each in self.broken):
            raise prometheus.Rejected("parse error")
        seconds = [float(at) for at in range(start, end + 1)]
        if "vgpu_claim_" in query:
            return [
                _series({**labels, "signal": name}, value, seconds)
                for _, name in OURS.findall(query)
                for labels, value in self.slices.get(name, [])
            ]
        joined = JOINED.findall(query)
        if not joined:
            return [_series(labels, value, seconds) for labels, value in self.queries.get(query, [])]
        return [
            _series({**labels, label: number}, value, seconds)
            for text, label, number in joined
            for labels, value in self.queries.get(text, [])
        ]


def _series(labels: dict[str, str], value: Value, seconds: list[float]) -> Series:
    return Series(labels, tuple((at, value(at)) for at in seconds))


@pytest.fixture
def metrics() -> Metrics:
    """Nothing measured yet."""
    return Metrics()
