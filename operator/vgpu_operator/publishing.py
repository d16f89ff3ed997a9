"""Writing a status: by server-side apply, only when it has changed, with an Event for each transition.

What a status says is decided elsewhere. The operator owns the fields it applies and leaves all others alone.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from vgpu.api import conditions
from vgpu.api.conditions import Condition
from vgpu_kube import crash
from vgpu_kube.events import Recorder
from vgpu_kube.informer import Informer
from vgpu_kube.protocol import Kube
from vgpu_kube.resources import Resource
from vgpu_operator import events, known
from vgpu_operator.metrics import Metrics

T = TypeVar("T")

FIELD_MANAGER = "vgpu-operator"
BEFORE_WRITE = "status-before-write"
AFTER_WRITE = "status-after-write"


class Publisher:
    """Writes statuses of one kind of object; ``now`` is the wall clock, in seconds since the epoch."""

    def __init__(
        self,
        kube: Kube,
        resource: Resource,
        informer: Informer[T],
        recorder: Recorder,
        metrics: Metrics,
        *,
        now: Callable[[], float],
    ) -> None:
        self._kube = kube
        self._resource = resource
        self._informer = informer
        self._recorder = recorder
        self._metrics = metrics
        self._now = now

    async def publish(
        self,
        meta: known.Meta,
        before: Mapping[str, Any],
        fields: Mapping[str, Any],
        says: Sequence[Condition],
    ) -> None:
        """Brings an object's status to what it shall say; ``before`` is what it says now.

        A field that is None shall not be there.
        Raises KubeError; a Conflict or NotFound means that the object is another one by now.
        """
        said = _said_by_us(before, says)
        merged = conditions.merge(said, says, now=self._now(), generation=meta.generation)
        wished = {**fields, "conditions": merged}
        if all(before.get(name) == value for name, value in wished.items()):
            return
        kept = {name: value for name, value in wished.items() if value is not None}
        body = {"metadata": {"uid": meta.uid}, "status": kept}
        crash.point(BEFORE_WRITE)
        raw = await self._kube.apply(
            self._resource, meta.name, body, FIELD_MANAGER, meta.namespace, subresource="status"
        )
        crash.point(AFTER_WRITE)
        self._informer.observe(raw)
        self._metrics.status_writes.labels(self._resource.kind).inc()
        for each in events.transitions(said, says):
            await self._tell(meta, each)

    async def _tell(self, meta: known.Meta, condition: Condition) -> None:
        regarding = {
            "apiVersion": self._resource.api_version,
            "kind": self._resource.kind,
            "name": meta.name,
            "uid": meta.uid,
            **({"namespace": meta.namespace} if meta.namespace is not None else {}),
        }
        kind = events.TYPES[condition.reason]
        action = events.ACTIONS[condition.type]
        await self._recorder.record(regarding, kind, condition.reason.value, condition.message, action)


def _said_by_us(before: Mapping[str, Any], says: Sequence[Condition]) -> list[Mapping[str, Any]]:
    """The conditions of ours that stand there; others' are not ours to apply."""
    ours = {str(each.type) for each in says}
    return [entry for entry in before.get("conditions") or () if entry["type"] in ours]
