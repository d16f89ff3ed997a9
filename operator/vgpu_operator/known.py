"""The objects of the cluster as the operator knows them: decoded once, when they arrive.

Values and the few facts of metadata and status that the operator needs besides; no decision is made here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vgpu import values
from vgpu.api import claim as claim_api
from vgpu.api import names, timestamps
from vgpu.api import pool as pool_api
from vgpu_kube.objects import Object
from vgpu_operator import homes

DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
SAYING_LENGTH = 512  # of the scheduler's message that is kept per pod; it may list every node


@dataclass(frozen=True, slots=True, kw_only=True)
class Meta:
    """Who an object is, which spec its status has to answer, and whether its deletion has begun."""

    name: str
    namespace: str | None
    uid: str
    generation: int
    deleting: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """A pool, with the status that was written last."""

    meta: Meta
    pool: values.Pool
    status: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A claim, with the status that was written last."""

    meta: Meta
    claim: values.Claim
    status: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """A pod that carries a claim's label; ``saying`` is why kube-scheduler has not placed it.

    ``deletion_cost`` is by how much a controller that removes pods would rather keep this one, ``home`` what
    the pod asks of its node.
    """

    ref: values.PodRef
    namespace: str
    claim_name: str
    created_at: float
    finished: bool
    deleting: bool
    saying: str
    ready: bool = False
    ip: str = ""
    deletion_cost: int = 0
    home: homes.Home = homes.ANYWHERE


def pool(raw: Object) -> Pool:
    """The pool of a VGPUPool object. Raises InvalidObject for what its schema refuses."""
    return Pool(meta=meta(raw), pool=pool_api.to_values(raw), status=raw.get("status") or {})


def claim(raw: Object) -> Claim:
    """The claim of a VGPUClaim object. Raises InvalidObject for what its schema refuses."""
    return Claim(meta=meta(raw), claim=claim_api.to_values(raw), status=raw.get("status") or {})


def pod(raw: Object) -> Pod:
    """The pod of a Pod object that carries the claim label."""
    metadata, status = raw["metadata"], raw.get("status") or {}
    return Pod(
        ref=values.PodRef(name=metadata["name"], uid=metadata["uid"]),
        namespace=metadata["namespace"],
        claim_name=metadata["labels"][names.CLAIM_LABEL],
        created_at=timestamps.parse_time(metadata["creationTimestamp"]),
        finished=status.get("phase") in ("Succeeded", "Failed"),
        deleting="deletionTimestamp" in metadata,
        saying=_saying(status),
        ready=_ready(status),
        ip=_own_ip(status),
        deletion_cost=_cost(metadata.get("annotations") or {}),
        home=homes.home(raw),
    )


def meta(raw: Object) -> Meta:
    """The metadata that every object has."""
    metadata = raw["metadata"]
    return Meta(
        name=metadata["name"],
        namespace=metadata.get("namespace"),
        uid=metadata["uid"],
        generation=metadata.get("generation", 0),
        deleting="deletionTimestamp" in metadata,
    )


def observed_generation(status: Mapping[str, Any]) -> int:
    """The newest generation that a status answers, -1 where there is none."""
    return max(
        (entry.get("observedGeneration", -1) for entry in status.get("conditions") or ()),
        default=-1,
    )


def _ready(status: Mapping[str, Any]) -> bool:
    conditions = status.get("conditions") or ()
    return any(entry.get("type") == "Ready" and entry.get("status") == "True" for entry in conditions)


def _own_ip(status: Mapping[str, Any]) -> str:
    """The pod's address; none for a pod on its host's network, whose ports may be another's."""
    ip = str(status.get("podIP") or "")
    return "" if ip == status.get("hostIP") else ip


def _cost(annotations: Mapping[str, str]) -> int:
    try:
        return int(annotations.get(DELETION_COST, "0"))
    except ValueError:  # the user's own, and ignored by controllers as well
        return 0


def _saying(status: Mapping[str, Any]) -> str:
    for entry in status.get("conditions") or ():
        if entry.get("type") == "PodScheduled" and entry.get("status") == "False":
            return str(entry.get("message", ""))[:SAYING_LENGTH]
    return ""
