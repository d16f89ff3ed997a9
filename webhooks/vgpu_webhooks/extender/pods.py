"""The few facts about a pod that placing needs, read from its JSON; whole pods are never kept."""

import reprlib
from dataclasses import dataclass
from typing import Any

from vgpu import values
from vgpu.api import names
from vgpu_kube.objects import Object
from vgpu_webhooks.extender import footprint

FINISHED_PHASES = frozenset({"Succeeded", "Failed"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """A pod as far as it matters here. ``claim`` is its label's, ``created`` RFC 3339 and so in order.

    ``asks`` is what it asks of its node besides GPUs.

    ``refused`` is true once kube-scheduler has looked at it and found no node, by whichever rules;
    ``displaces`` while kube-scheduler may end less important pods for it.
    """

    namespace: str
    name: str
    uid: str
    claim: str | None
    node: str | None = None
    nominated: str | None = None
    finished: bool = False
    deleting: bool = False
    gates: tuple[str, ...] = ()
    refused: bool = False
    priority: int = 0
    displaces: bool = True
    created: str = ""
    asks: footprint.Footprint = footprint.NOTHING

    @property
    def waits(self) -> bool:
        """True while kube-scheduler still has to place it."""
        return self._alive and not self.gates

    @property
    def runs(self) -> bool:
        """True while it is bound and not finished."""
        return self.node is not None and not self.finished

    @property
    def queued(self) -> bool:
        """True while it waits in our queue: nobody else keeps a gate closed."""
        return self._alive and self.gates == (names.QUEUE_GATE,)

    @property
    def ref(self) -> values.PodRef:
        """The pod as the ledger keeps it."""
        return values.PodRef(
            name=self.name,
            uid=self.uid,
            cpu_milli=self.asks.cpu_milli,
            memory_bytes=self.asks.memory_bytes,
        )

    @property
    def _alive(self) -> bool:
        return self.node is None and not (self.finished or self.deleting)

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


def decode(raw: Object) -> Pod:
    """The facts of a pod; raises ValueError where a field has another shape than the API gives it."""
    metadata, spec, status = (_object(raw, part) for part in ("metadata", "spec", "status"))
    return Pod(
        namespace=_name(metadata, "namespace"),
        name=_name(metadata, "name"),
        uid=_name(metadata, "uid"),
        claim=_text(_object(metadata, "labels"), names.CLAIM_LABEL),
        node=_text(spec, "nodeName"),
        nominated=_text(status, "nominatedNodeName"),
        finished=_text(status, "phase") in FINISHED_PHASES,
        deleting=metadata.get("deletionTimestamp") is not None,
        gates=tuple(_name(gate, "name") for gate in _objects(spec, "schedulingGates")),
        refused=any(_is_refusal(condition) for condition in _objects(status, "conditions")),
        priority=_integer(spec, "priority"),
        displaces=_text(spec, "preemptionPolicy") != "Never",
        created=_text(metadata, "creationTimestamp") or "",
        asks=footprint.of(spec),
    )


def _object(raw: Object, field: str) -> Object:
    return _typed(raw, field, dict, "an object") or {}


def _objects(raw: Object, field: str) -> list[Object]:
    found: list[Any] = _typed(raw, field, list, "a list") or []
    return [each for each in found if isinstance(each, dict)]


def _is_refusal(condition: Object) -> bool:
    return (condition.get("type"), condition.get("status"), condition.get("reason")) == (
        "PodScheduled",
        "False",
        "Unschedulable",
    )


def _text(raw: Object, field: str) -> str | None:
    """A text, None where it is absent or empty."""
    return _typed(raw, field, str, "a text") or None


def _name(raw: Object, field: str) -> str:
    found = _text(raw, field)
    if found is None:
        raise ValueError(f"expected the pod's {field}, found none: send the whole Pod")
    return found


def _integer(raw: Object, field: str) -> int:
    return _typed(raw, field, int, "an integer") or 0


def _typed(raw: Object, field: str, kind: type, expected: str) -> Any:  # noqa: ANN401 - of the kind asked for
    found = raw.get(field)
    if found is not None and type(found) is not kind:
        raise ValueError(
            f"expected {expected} in the pod's {field}, found {reprlib.repr(found)}: send the whole Pod"
        )
    return found
