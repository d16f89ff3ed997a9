"""What a pod asks of its node besides GPUs: CPU and memory as kube-scheduler sums them up.

The larger of what its containers ask together and what its init containers ask at any moment, those that keep
running included, plus the overhead; what is asked for the pod as a whole goes before its containers' sum.
Source: https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/#resource-sharing-within-containers
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from vgpu.api import quantity
from vgpu_kube.objects import Object


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """CPU in thousandths, and bytes of host memory."""

    cpu_milli: int
    memory_bytes: int


NOTHING = Footprint(cpu_milli=0, memory_bytes=0)


def of(spec: Object) -> Footprint:
    """What a pod with this spec asks; raises ValueError for what is no quantity."""
    return Footprint(
        cpu_milli=_asked(spec, "cpu", quantity.parse_milli),
        memory_bytes=_asked(spec, "memory", quantity.parse_bytes),
    )


def _asked(spec: Object, resource: str, parse: Callable[[str], int]) -> int:
    def request(of: Any) -> int:  # noqa: ANN401 - JSON from the wire, checked here
        found = _part(_part(_part(of, "resources"), "requests"), resource)
        return 0 if found is None else parse(str(found))

    overhead = _part(_part(spec, "overhead"), resource)
    whole = request(spec)
    together = sum(request(container) for container in _list(spec, "containers"))
    running = peak = 0
    for container in _list(spec, "initContainers"):
        asked = request(container)
        peak = max(peak, running + asked)
        if _part(container, "restartPolicy") == "Always":
            running += asked
    asked = whole or max(together + running, peak)
    return asked + (0 if overhead is None else parse(str(overhead)))


def _part(found: Any, key: str) -> Any:  # noqa: ANN401 - JSON from the wire, checked here
    return found.get(key) if isinstance(found, dict) else None


def _list(found: Any, key: str) -> list[Any]:  # noqa: ANN401 - JSON from the wire, checked here
    part = _part(found, key)
    return part if isinstance(part, list) else []
