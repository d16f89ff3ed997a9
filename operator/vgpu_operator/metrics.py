"""What the operator counts of its own work, and of the pools' quotas; scraped at /metrics.

Facts about claims in use are the node agents' to export.
"""

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from vgpu import values
from vgpu_operator import pool_status


class Metrics:
    """The operator's metrics in a registry of their own."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self.reconciles = Histogram(
            "vgpu_reconcile_duration_seconds",
            "Duration of one reconciliation, by kind of object.",
            ["kind"],
            registry=registry,
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5),
        )
        self.status_writes = Counter(
            "vgpu_status_writes_total", "Statuses written, by kind of object.", ["kind"], registry=registry
        )
        self.resizes = Counter(
            "vgpu_resizes_total",
            "Edits of bounds carried into slices, by result.",
            ["direction", "result"],
            registry=registry,
        )
        self.escapes = Counter(
            "vgpu_escapes_stopped_total",
            "Evictions of pods that used a GPU outside of their slice, by result.",
            ["pool", "result"],
            registry=registry,
        )
        self.reclaims = Counter(
            "vgpu_reclaims_total",
            "Takings back of growth for pods that wait, one per node, by result.",
            ["pool", "result"],
            registry=registry,
        )
        self.moves = Counter(
            "vgpu_moves_total",
            "Pods evicted so that a waiting one fits, or kept by a budget, by result.",
            ["pool", "result"],
            registry=registry,
        )
        self._claims_waiting = Gauge(
            "vgpu_claims_waiting",
            "Claims with a pod that has no place, by reason.",
            ["pool", "reason"],
            registry=registry,
        )
        self._pool_claims = Gauge(
            "vgpu_pool_claims", "Claims of a pool, by state.", ["pool", "state"], registry=registry
        )
        self._pool_memory = Gauge(
            "vgpu_pool_memory_bytes",
            "Memory a pool may promise (capacity) and has given away (allocated).",
            ["pool", "state"],
            registry=registry,
        )
        self._quota_used = Gauge(
            "vgpu_quota_used_bytes", "Memory a namespace holds.", ["pool", "namespace"], registry=registry
        )
        self._quota_nominal = Gauge(
            "vgpu_quota_nominal_bytes",
            "Memory of its nominal quota.",
            ["pool", "namespace"],
            registry=registry,
        )
        self._pool_nodes = Gauge(
            "vgpu_pool_nodes",
            "Nodes of a pool whose agents report (reporting) or have not for minutes (silent).",
            ["pool", "state"],
            registry=registry,
        )
        self._namespaces: dict[str, set[str]] = {}

    def show_pool(self, facts: pool_status.Facts) -> None:
        """What a pool's status says, for alerts."""
        name, allocated = facts.pool.name, sum(facts.used.values(), values.NOTHING)
        self._pool_claims.labels(name, "bound").set(facts.bound)
        self._pool_claims.labels(name, "pending").set(facts.pending)
        self._pool_memory.labels(name, "capacity").set(facts.totals.capacity.memory_bytes)
        self._pool_memory.labels(name, "allocated").set(allocated.memory_bytes)
        self._pool_nodes.labels(name, "silent").set(len(facts.silent))
        self._pool_nodes.labels(name, "reporting").set(facts.totals.nodes - len(facts.silent))
        self._show_quotas(facts.pool, facts.used)

    def show_waiting(self, counts: Mapping[tuple[str, str], int]) -> None:
        """How many claims wait, by pool and reason."""
        self._claims_waiting.clear()
        for (pool, reason), count in counts.items():
            self._claims_waiting.labels(pool, reason).set(count)

    def forget_pool(self, pool: str) -> None:
        """A pool is gone, and its series with it."""
        pools = (self._pool_claims, self._pool_memory, self._pool_nodes)
        for gauge in (*pools, self._quota_used, self._quota_nominal):
            gauge.remove_by_labels({"pool": pool})
        self._namespaces.pop(pool, None)

    def _show_quotas(self, pool: values.Pool, used: Mapping[str, values.Amounts]) -> None:
        quotas = pool.quotas or {}
        shown = {*quotas, *used}
        for namespace in self._namespaces.get(pool.name, set()) - shown:
            for gauge in (self._quota_used, self._quota_nominal):
                gauge.remove_by_labels({"pool": pool.name, "namespace": namespace})
        for namespace in shown:
            held = used.get(namespace, values.NOTHING)
            self._quota_used.labels(pool.name, namespace).set(held.memory_bytes)
            if namespace in quotas:
                nominal = quotas[namespace].nominal.memory_bytes
                self._quota_nominal.labels(pool.name, namespace).set(nominal)
        self._namespaces[pool.name] = shown
