"""The figures admission exports; labels are bounded by the routes and the two answers."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Metrics:
    """What happened at the webhooks since the process started."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self.answers = Counter(
            "vgpu_admission_reviews",
            "Reviews answered, by webhook and result: allowed, refused, malformed or failed",
            ["webhook", "result"],
            registry=registry,
        )
        self.seconds = Histogram(
            "vgpu_admission_duration_seconds",
            "Time from a whole request to its answer",
            ["webhook"],
            buckets=BUCKETS,
            registry=registry,
        )
        self._certificate = Gauge(
            "vgpu_admission_certificate_expiry_timestamp_seconds",
            "End of the serving certificate, in seconds since 1970",
            registry=registry,
        )

    def show_certificate(self, expires_at: Callable[[], float]) -> None:
        """The end of the certificate, read at every scrape."""
        self._certificate.set_function(expires_at)
