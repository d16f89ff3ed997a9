"""A claim explained: its conditions, who waits and what would help, what it holds, what was done."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from vgpu import values
from vgpu.api import timestamps
from vgpu_cli import advice, occurrences, reading, words
from vgpu_cli.cluster import Session
from vgpu_kube.objects import Object
from vgpu_kube.resources import VGPU_CLAIMS, VGPU_POOLS


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One condition in words; ``since`` is when its status last changed."""

    type: str
    status: str
    reason: str
    message: str
    since: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What one pod holds on each of its GPUs; ``enforced`` is what its node has confirmed."""

    pod: str
    node: str
    devices: tuple[str, ...]
    allocated: values.Amounts
    enforced: values.Amounts | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Why the oldest pod without a slice waits, what would let it in, and what is under way."""

    pod: str
    reason: str
    nodes: tuple[str, ...]
    suggestions: tuple[str, ...]
    progress: str | None
    raw: Object


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """Everything that is said of a claim."""

    path: str
    pool: str | None
    said: reading.Said
    advice: str | None
    floor: values.Amounts
    ceiling: values.Amounts
    devices: int
    conditions: tuple[Condition, ...]
    waiting: Waiting | None
    quota: str | None
    held: tuple[Held, ...]
    decision: Object | None
    events: tuple[occurrences.Occurrence, ...]


async def story(session: Session, name: str) -> Story:
    """The story of a claim in the session's namespace. Raises KubeError where it is not there."""
    claim = await session.cluster.get(VGPU_CLAIMS, name, session.namespace)
    pools = list((await session.cluster.list(VGPU_POOLS)).items)
    events = await occurrences.of(session.cluster, session.namespace, name)
    return told(claim, pools, events)


def told(claim: Object, pools: list[Object], events: Iterable[occurrences.Occurrence]) -> Story:
    """The story that a claim, the pools and the Events tell."""
    status, said = claim.get("status") or {}, reading.said(claim)
    raw_waiting = status.get("waiting")
    pool = reading.pool_name(claim, pools)
    return Story(
        path=reading.path(claim),
        pool=pool,
        said=said,
        advice=advice.for_reason(said.reason),
        floor=reading.floor(claim),
        ceiling=reading.ceiling(claim),
        devices=int(claim["spec"].get("deviceCount", 1)),
        conditions=tuple(_condition(each) for each in status.get("conditions") or ()),
        waiting=None if raw_waiting is None else _waiting(raw_waiting),
        quota=_quota(claim["metadata"]["namespace"], _named(pools, pool)),
        held=tuple(_held(each) for each in status.get("allocations") or ()),
        decision=status.get("lastDecision"),
        events=tuple(events),
    )


def _condition(raw: Object) -> Condition:
    since = raw.get("lastTransitionTime")
    return Condition(
        type=raw["type"],
        status=raw["status"],
        reason=raw["reason"],
        message=raw.get("message", ""),
        since=timestamps.parse_time(since) if since else None,
    )


def _waiting(raw: Object) -> Waiting:
    return Waiting(
        pod=raw["podName"],
        reason=raw["reason"],
        nodes=tuple(
            f"{words.counted(each['count'], 'node')}: {each['message']}" for each in raw.get("nodes") or ()
        ),
        suggestions=tuple(each["message"] for each in raw.get("suggestions") or ()),
        progress=raw.get("progress"),
        raw=raw,
    )


def _named(pools: Iterable[Object], name: str | None) -> Object | None:
    return next((each for each in pools if each["metadata"]["name"] == name), None)


def _quota(namespace: str, pool: Object | None) -> str | None:
    """What the namespace holds of its quota, in words; None where the pool is unknown."""
    if pool is None:
        return None
    name, lines = pool["metadata"]["name"], pool["spec"].get("quotas")
    if lines is None:
        return f"pool {name} has no quotas"
    mine = next((each for each in lines if each["namespace"] == namespace), None)
    if mine is None:
        return f"pool {name} has no quota for namespace {namespace}: it may hold nothing"
    used = next(
        (
            each["used"]
            for each in (pool.get("status") or {}).get("quotas") or ()
            if each["namespace"] == namespace
        ),
        None,
    )
    nominal = words.amounts(reading.amounts(mine["nominal"]))
    borrow = mine.get("borrowingLimit")
    may = f", may borrow {words.amounts(reading.amounts(borrow))} more" if borrow else ""
    held = words.amounts(reading.amounts(used))
    return f"namespace {namespace} holds {held} of its {nominal} in pool {name}{may}"


def _held(raw: Object) -> Held:
    enforced = raw.get("enforced")
    return Held(
        pod=raw["podName"],
        node=raw["nodeName"],
        devices=tuple(raw["deviceUUIDs"]),
        allocated=reading.amounts(raw),
        enforced=None if enforced is None else reading.amounts(enforced),
    )


def to_json(found: Story) -> dict[str, Any]:
    """The story for programs."""
    namespace, name = found.path.split("/")
    return {
        "namespace": namespace,
        "name": name,
        "pool": found.pool,
        "ready": asdict(found.said),
        "advice": found.advice,
        "requests": reading.amounts_to_json(found.floor),
        "limits": reading.amounts_to_json(found.ceiling),
        "deviceCount": found.devices,
        "conditions": [_condition_to_json(each) for each in found.conditions],
        "waiting": None if found.waiting is None else found.waiting.raw,
        "quota": found.quota,
        "allocations": [_held_to_json(each) for each in found.held],
        "lastDecision": found.decision,
        "events": [_event_to_json(each) for each in found.events],
    }


def _condition_to_json(each: Condition) -> dict[str, Any]:
    since = None if each.since is None else timestamps.format_time(each.since)
    return {
        "type": each.type,
        "status": each.status,
        "reason": each.reason,
        "message": each.message,
        "since": since,
    }


def _held_to_json(each: Held) -> dict[str, Any]:
    enforced = None if each.enforced is None else reading.amounts_to_json(each.enforced)
    allocated = reading.amounts_to_json(each.allocated)
    return {
        "pod": each.pod,
        "node": each.node,
        "devices": list(each.devices),
        **allocated,
        "enforced": enforced,
    }


def _event_to_json(each: occurrences.Occurrence) -> dict[str, Any]:
    seen = {"time": timestamps.format_time(each.at), "type": "Warning" if each.warning else "Normal"}
    return {**seen, "reason": each.reason, "message": each.note, "count": each.count, "by": each.by}
