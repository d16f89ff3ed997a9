"""The extender's numbers, declared once, in the registry of its caller. Label sets are bounded."""

from collections.abc import Callable

import prometheus_client as prometheus

_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 5.0)


class Metrics:
    """What is counted and timed; gauges are read from the process when asked for."""

    def __init__(self, registry: prometheus.CollectorRegistry) -> None:
        self.duration = prometheus.Histogram(
            "vgpu_placement_duration_seconds",
            "Time to answer kube-scheduler, by verb.",
            ["verb"],
            buckets=_BUCKETS,
            registry=registry,
        )
        self.placements = prometheus.Counter(
            "vgpu_placements",
            "Pods placed (filter) and bound (bind).",
            ["verb"],
            registry=registry,
        )
        self.rejections = prometheus.Counter(
            "vgpu_placement_rejections",
            "Pods not placed or not bound, by reason.",
            ["reason"],
            registry=registry,
        )
        self.releases = prometheus.Counter(
            "vgpu_slices_released",
            "Slices given back, by cause.",
            ["cause"],
            registry=registry,
        )
        self.resizes = prometheus.Counter(
            "vgpu_resizes",
            "Growth asked for and granted or refused, by direction and result.",
            ["direction", "result"],
            registry=registry,
        )
        self._registry = registry

    def gauge(self, name: str, help_text: str, value: Callable[[], float]) -> None:
        """A number that is read when asked for."""
        prometheus.Gauge(name, help_text, registry=self._registry).set_function(value)
