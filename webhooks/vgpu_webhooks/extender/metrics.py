"""The extender's numbers, declared once, in the registry of its caller. Label sets are bounded."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import prometheus_client as prometheus

_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 5.0)


class Metrics:
    """What is counted and timed; gauges are read from the process when asked for."""

    def __init__(self, registry: prometheus.CollectorRegistry) -> None:
        self._registry = registry
        self._duration = prometheus.Histogram(
            "vgpu_placement_duration_seconds",
            "Time to answer kube-scheduler, by verb.",
            ["verb"],
            buckets=_BUCKETS,
            registry=registry,
        )
        self._placements = self._counter("vgpu_placements", "Pods placed (filter) and bound (bind).", "verb")
        self._rejections = self._counter(
            "vgpu_placement_rejections", "Pods not placed or not bound, by reason.", "reason"
        )
        self._releases = self._counter("vgpu_slices_released", "Slices given back, by cause.", "cause")
        self._resizes = self._counter(
            "vgpu_resizes", "Growth granted or put off, by direction and result.", "direction", "result"
        )

    def timed(self, verb: str) -> AbstractContextManager[object]:
        """Times a call."""
        return self._duration.labels(verb).time()

    def placed(self, verb: str) -> None:
        """A pod was placed or bound."""
        self._placements.labels(verb).inc()

    def rejected(self, reason: str) -> None:
        """A pod was not placed or not bound."""
        self._rejections.labels(reason).inc()

    def released(self, cause: str) -> None:
        """A slice was given back."""
        self._releases.labels(cause).inc()

    def grown(self, result: str) -> None:
        """A wish to grow was granted, or not."""
        self._resizes.labels("grow", result).inc()

    def gauge(self, name: str, help_text: str, value: Callable[[], float]) -> None:
        """A number that is read when asked for."""
        prometheus.Gauge(name, help_text, registry=self._registry).set_function(value)

    def _counter(self, name: str, help_text: str, *labels: str) -> prometheus.Counter:
        return prometheus.Counter(name, help_text, labels, registry=self._registry)
