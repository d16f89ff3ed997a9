"""Every metric that the platform exports, read off the very objects that export it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric as Family

import vgpu_agent.metrics
import vgpu_operator.metrics
import vgpu_webhooks.admission.metrics
from vgpu_kube import testing
from vgpu_operator.elasticity import counts
from vgpu_webhooks.extender import extender


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One metric: ``name`` as it is queried, without a histogram's suffixes."""

    name: str
    type: str
    help: str
    process: str


class _NoSlices:
    """Stands for the agent's limits and lender on a node without slices."""

    def held(self) -> Iterator[Any]:
        return iter(())


def metrics() -> list[Metric]:
    """All metrics, by process and name."""
    return sorted(
        (_metric(family, process) for process, families in _families().items() for family in families),
        key=lambda each: (each.process, each.name),
    )


def queried() -> set[str]:
    """The names under which series exist, histograms with their suffixes."""
    names: set[str] = set()
    for each in metrics():
        names.add(each.name)
        if each.type == "histogram":
            names |= {f"{each.name}_{suffix}" for suffix in ("bucket", "sum", "count")}
    return names


def _families() -> dict[str, list[Family]]:
    return {"vgpu-agent": _agent(), "vgpu-extender": _extender(), "vgpu-admission": _admission(),
            "vgpu-operator": _operator()}  # fmt: skip


def _agent() -> list[Family]:
    registry, nothing = CollectorRegistry(), cast(Any, _NoSlices())
    vgpu_agent.metrics.Work(registry)
    registry.register(vgpu_agent.metrics.Facts(nothing, nothing, node=""))
    return list(registry.collect())


def _extender() -> list[Family]:
    registry = CollectorRegistry()
    extender.Extender(testing.Cluster(), extender.Settings(identity="catalogue"), registry=registry)
    return list(registry.collect())


def _admission() -> list[Family]:
    registry = CollectorRegistry()
    vgpu_webhooks.admission.metrics.Metrics(registry)
    return list(registry.collect())


def _operator() -> list[Family]:
    registry = CollectorRegistry()
    own = vgpu_operator.metrics.Metrics(registry)
    counts.Counts(registry, own.resizes)
    return list(registry.collect())


def _metric(family: Family, process: str) -> Metric:
    """A counter's series end in _total, which its family's name does not."""
    name = f"{family.name}_total" if family.type == "counter" else family.name
    return Metric(name=name, type=family.type, help=family.documentation, process=process)
