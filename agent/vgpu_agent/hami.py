"""The names of HAMi's monitor for what ``metrics`` exports, for dashboards and alerts that exist.

One table says which of our figures stands under which name. A slice's containers share one account and are
not told apart, so ``container`` is empty. Names whose figure we do not have (time since the last kernel,
memory of contexts and modules one by one, MIG instances) are left out rather than made up.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from prometheus_client.core import GaugeMetricFamily, Metric

from vgpu_agent import devices

SLICE_LABELS = ("namespace", "pod", "container", "vdevice_index", "device_uuid")
DEVICE_LABELS = ("node", "device_index", "device_uuid", "device_type")

SLICES = {
    "hami_vgpu_memory_used_bytes": "memory_used_bytes",
    "hami_vgpu_memory_limit_bytes": "memory_allocated_bytes",
    "hami_container_device_memory_bytes": "memory_used_bytes",
    "hami_container_device_utilization_ratio": "compute_used_ratio",
}
"""HAMi's name for a container on a device, and the end of ours: vgpu_claim_..."""

DEVICE_MEMORY = "hami_host_gpu_memory_used_bytes"


class Row(NamedTuple):
    """A slice on one of its devices: where it is, and its figures by the ends of our names."""

    namespace: str
    pod: str
    number: int
    device: str
    figures: Mapping[str, float]


def aliases(
    rows: Iterable[Row], found: Iterable[devices.Found], used: Mapping[str, int], *, node: str
) -> Iterator[Metric]:
    """The families under HAMi's names; ``used`` is what the driver says of each device."""
    rows = list(rows)
    for name, ours in SLICES.items():
        gauge = GaugeMetricFamily(name, f"As vgpu_claim_{ours}.", labels=SLICE_LABELS)
        for row in rows:
            place = (row.namespace, row.pod, "", str(row.number), row.device)
            gauge.add_metric(place, row.figures[ours])
        yield gauge
    memory = GaugeMetricFamily(DEVICE_MEMORY, "As vgpu_device_memory_used_bytes.", labels=DEVICE_LABELS)
    for each in found:
        device = each.device
        if device.uuid in used:
            memory.add_metric((node, str(device.index), device.uuid, device.model), used[device.uuid])
    yield memory
