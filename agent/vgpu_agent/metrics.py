"""What the agent exports, declared once: devices as found, slices as accounted, its own work.

Facts about slices are read from the pages when Prometheus asks; nothing is kept here but what the agent has
done itself. Ratios are parts of one GPU. A slice of one pod carries its name, a shared one has none.
"""

from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from vgpu_agent import devices, hami
from vgpu_agent.held import Held
from vgpu_agent.lending import Lender
from vgpu_agent.limits import Limits
from vgpu_agent.pages import Accounts, AccountsError

SLICE_LABELS = ("pool", "namespace", "claim", "pod", "node", "device")
DEVICE_LABELS = ("node", "device")

_GAUGES = {
    "memory_requested_bytes": "Memory that is promised to a slice.",
    "memory_allocated_bytes": "Memory that a slice may use now, as the ledger has it.",
    "memory_limit_bytes": "Memory that a slice may grow to.",
    "memory_used_bytes": "Memory that a slice holds.",
    "compute_requested_ratio": "Compute that is promised to a slice.",
    "compute_allocated_ratio": "Compute that a slice may use now, as the ledger has it.",
    "compute_limit_ratio": "Compute that a slice may grow to.",
    "compute_used_ratio": "Compute that a slice used in the last quarter of a second.",
    "compute_borrowed_ratio": "Idle compute of others that is lent to a slice now.",
    "compute_lent_ratio": "Compute of a slice that is free for others now.",
}
_COUNTERS = {
    "gpu_seconds_total": "GPU time that a slice has used.",
    "throttled_seconds_total": "Time that launches of a slice were held back by its compute limit.",
    "queued_seconds_total": "Time that launches of a slice were held back by its work still in flight.",
    "memory_denials_total": "Allocations of a slice that its memory limit refused.",
    "memory_denied_bytes_total": "Bytes of those allocations.",
}


class Work:
    """What the agent counts of its own work."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.applied = Histogram(
            "vgpu_agent_apply_duration_seconds",
            "From a change of the ledger seen to all pages written.",
            registry=registry,
            buckets=(0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5),
        )
        self.published = Counter(
            "vgpu_agent_volumes_total", "Volumes shown and taken away.", ["action"], registry=registry
        )
        self.escapes = Counter(
            "vgpu_agent_escapes_total",
            "Processes found to hold GPU memory that their slice does not account for.",
            ["device"],
            registry=registry,
        )


class Facts(Collector):
    """Devices and slices, read at every scrape."""

    def __init__(self, limits: Limits, lender: Lender, *, node: str, hami_names: bool = False) -> None:
        self._limits = limits
        self._lender = lender
        self._node = node
        self._hami_names = hami_names
        self.found: Iterable[devices.Found] = ()
        self.device_memory_used: dict[str, int] = {}

    def collect(self) -> Iterator[Metric]:
        """The families of this moment."""
        yield from self._devices()
        rows = list(self._rows())
        for name, text in _GAUGES.items():
            gauge = GaugeMetricFamily(f"vgpu_claim_{name}", text, labels=SLICE_LABELS)
            for labels, _, values in rows:
                gauge.add_metric(labels, values[name])
            yield gauge
        for name, text in _COUNTERS.items():
            counter = CounterMetricFamily(f"vgpu_claim_{name}", text, labels=SLICE_LABELS)
            for labels, _, values in rows:
                counter.add_metric(labels, values[name])
            yield counter
        if self._hami_names:
            yield from self._aliases(rows)

    def describe(self) -> Iterator[Metric]:
        """Nothing: the names are checked by a test, not at every registration."""
        return iter(())

    def _devices(self) -> Iterator[Metric]:
        capacity = GaugeMetricFamily(
            "vgpu_device_memory_capacity_bytes", "Memory of a GPU.", labels=DEVICE_LABELS
        )
        healthy = GaugeMetricFamily(
            "vgpu_device_healthy", "1 for a GPU that takes new slices.", labels=DEVICE_LABELS
        )
        used = GaugeMetricFamily(
            "vgpu_device_memory_used_bytes", "Memory in use as the driver sees it.", labels=DEVICE_LABELS
        )
        for each in self.found:
            labels = (self._node, each.device.uuid)
            capacity.add_metric(labels, each.device.memory_bytes)
            healthy.add_metric(labels, int(each.device.healthy))
            if each.device.uuid in self.device_memory_used:
                used.add_metric(labels, self.device_memory_used[each.device.uuid])
        yield from (capacity, healthy, used)

    def _aliases(self, rows: "list[_Row]") -> Iterator[Metric]:
        named = [
            hami.Row(namespace=namespace, pod=pod, number=index, device=uuid, figures=figures)
            for (_, namespace, _, pod, _, uuid), index, figures in rows
        ]
        return hami.aliases(named, self.found, self.device_memory_used, node=self._node)

    def _rows(self) -> Iterator["_Row"]:
        for slice_id, held, pages in self._limits.held():
            for index, uuid in enumerate(held.slice.device_uuids):
                try:
                    accounts = pages.read(index)
                except AccountsError:
                    continue
                share = self._lender.lent(slice_id, uuid)
                recent = share.recent if share else ()
                free = held.slice.allocated.compute_percent - share.reserved_percent if share else 0
                loans = (share.lent_percent if share else 0, free, sum(recent) / max(1, len(recent)))
                yield self._labels(held, uuid), index, _values(held, accounts, loans)

    def _labels(self, held: Held, uuid: str) -> tuple[str, ...]:
        pods = held.slice.pods
        pod = pods[0].name if len(pods) == 1 else ""
        claim = held.slice.claim
        return (held.slice.pool_name, claim.namespace, claim.name, pod, self._node, uuid)


_Row = tuple[tuple[str, ...], int, dict[str, float]]


def _values(held: Held, accounts: Accounts, loans: tuple[float, float, float]) -> dict[str, float]:
    slice_, counters = held.slice, accounts.counters
    borrowed, lent, used = loans
    return {
        "memory_requested_bytes": slice_.requests.memory_bytes,
        "memory_allocated_bytes": slice_.allocated.memory_bytes,
        "memory_limit_bytes": slice_.limits.memory_bytes,
        "memory_used_bytes": accounts.used_bytes,
        "compute_requested_ratio": slice_.requests.compute_percent / 100,
        "compute_allocated_ratio": slice_.allocated.compute_percent / 100,
        "compute_limit_ratio": slice_.limits.compute_percent / 100,
        "compute_used_ratio": used / 100,
        "compute_borrowed_ratio": borrowed / 100,
        "compute_lent_ratio": lent / 100,
        "gpu_seconds_total": counters.gpu_ns / 1e9,
        "throttled_seconds_total": counters.throttled_ns / 1e9,
        "queued_seconds_total": counters.queued_ns / 1e9,
        "memory_denials_total": counters.refused,
        "memory_denied_bytes_total": counters.refused_bytes,
    }
