"""Which transitions of conditions are told as Events, as a warning or not, and by which name.

An Event's reason is the condition's reason; what was done is the action. The sentence is the condition's.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from vgpu.api.conditions import ClaimCondition, Condition, PoolCondition, Reason
from vgpu_kube.events import EventType

COMPONENT = "vgpu-operator"

EVALUATED = "Evaluated"  # quota and pool were looked at
PLACED = "Placed"  # the ledger was looked at
ENFORCED = "Enforced"  # the node's report was looked at
SCALED = "Scaled"  # replicas wanted and replicas possible were compared
RESIZED = "Resized"  # allocation and enforcement were compared
INSPECTED = "Inspected"  # a pool's nodes and devices were looked at

ACTIONS: Mapping[ClaimCondition | PoolCondition, str] = {
    ClaimCondition.ACCEPTED: EVALUATED,
    ClaimCondition.BOUND: PLACED,
    ClaimCondition.ENFORCED: ENFORCED,
    ClaimCondition.RESIZING: RESIZED,
    ClaimCondition.SCALING_LIMITED: SCALED,
    PoolCondition.INVENTORY_CURRENT: INSPECTED,
    PoolCondition.READY: INSPECTED,
}
"""The conditions whose transitions are told; a claim's Ready only repeats them."""

TYPES: Mapping[Reason, EventType] = {
    Reason.WITHIN_QUOTA: EventType.NORMAL,
    Reason.BORROWING: EventType.NORMAL,
    Reason.POOL_NOT_FOUND: EventType.WARNING,
    Reason.NO_DEFAULT_POOL: EventType.WARNING,
    Reason.WAITING_FOR_QUOTA: EventType.WARNING,
    Reason.EXCEEDS_QUOTA: EventType.WARNING,
    Reason.EXCEEDS_DEVICE: EventType.WARNING,
    Reason.BOUND: EventType.NORMAL,
    Reason.NO_FIT: EventType.WARNING,
    Reason.LIMITS_APPLIED: EventType.NORMAL,
    Reason.LIMITS_REFUSED: EventType.WARNING,
    Reason.GROWING: EventType.NORMAL,
    Reason.SHRINKING: EventType.NORMAL,
    Reason.DEFERRED: EventType.WARNING,
    Reason.AT_MAX_REPLICAS: EventType.WARNING,
    Reason.SCALED_BY_ANOTHER: EventType.WARNING,
    Reason.TARGET_UNAVAILABLE: EventType.WARNING,
    Reason.METRICS_UNAVAILABLE: EventType.WARNING,
    Reason.AGENTS_REPORTING: EventType.NORMAL,
    Reason.AGENTS_SILENT: EventType.WARNING,
    Reason.NO_NODES: EventType.WARNING,
    Reason.NO_DEVICES: EventType.WARNING,
    Reason.DEVICES_READY: EventType.NORMAL,
    Reason.POOLS_OVERLAP: EventType.WARNING,
}
"""The reasons that are told; waiting and being at rest are the usual state and no event."""


def transitions(before: Iterable[Mapping[str, Any]], now: Iterable[Condition]) -> Iterator[Condition]:
    """The conditions that are worth an Event: told ones whose status or reason has changed."""
    said = {entry["type"]: (entry["status"], entry["reason"]) for entry in before}
    told: set[Reason] = set()
    for each in now:
        changed = said.get(each.type) != (each.status, each.reason)
        if changed and each.type in ACTIONS and each.reason in TYPES and each.reason not in told:
            told.add(each.reason)  # two conditions may give one reason; once is enough
            yield each
