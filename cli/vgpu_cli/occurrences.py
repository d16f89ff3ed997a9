"""What has happened to an object lately: its Events, the newest first."""

from collections.abc import Iterable
from dataclasses import dataclass

from vgpu.api import timestamps
from vgpu_cli.cluster import Cluster
from vgpu_kube import errors
from vgpu_kube.objects import Object
from vgpu_kube.resources import EVENTS


@dataclass(frozen=True, slots=True, kw_only=True)
class Occurrence:
    """One Event; ``at`` is when it was last seen, seconds since the epoch."""

    at: float
    warning: bool
    reason: str
    action: str
    note: str
    by: str
    count: int
    namespace: str
    name: str


async def of(cluster: Cluster, namespace: str, name: str) -> list[Occurrence]:
    """The Events about every object of a name; none where they may not be read."""
    try:
        found = (await cluster.list(EVENTS, namespace, fields=f"regarding.name={name}")).items
    except errors.Forbidden:
        return []
    return newest_first(found)


def newest_first(events: Iterable[Object]) -> list[Occurrence]:
    """Raw Events as occurrences."""
    return sorted((_occurrence(each) for each in events), key=lambda each: -each.at)


def _occurrence(raw: Object) -> Occurrence:
    series = raw.get("series") or {}
    seen = series.get("lastObservedTime") or raw.get("eventTime") or raw["metadata"].get("creationTimestamp")
    regarding = raw.get("regarding") or {}
    return Occurrence(
        at=timestamps.parse_time(seen) if seen else 0.0,
        warning=raw.get("type") == "Warning",
        reason=raw.get("reason") or "",
        action=raw.get("action") or "",
        note=raw.get("note") or "",
        by=raw.get("reportingController") or "",
        count=series.get("count", 1),
        namespace=regarding.get("namespace") or raw["metadata"].get("namespace") or "",
        name=regarding.get("name") or "",
    )
