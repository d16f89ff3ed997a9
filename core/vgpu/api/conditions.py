"""The conditions of pools and claims: their names, reasons and signers, and how a new one is merged in.

Each condition has one signer, starts Unknown, and gives its reason in the user's words. When to say which is
decided elsewhere.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from vgpu.api import timestamps


class Status(StrEnum):
    """What a condition says."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class ClaimCondition(StrEnum):
    """The conditions of a VGPUClaim, in the order in which a claim meets them."""

    ACCEPTED = "Accepted"
    BOUND = "Bound"
    ENFORCED = "Enforced"
    RESIZING = "Resizing"
    SCALING_LIMITED = "ScalingLimited"
    READY = "Ready"


class PoolCondition(StrEnum):
    """The conditions of a VGPUPool."""

    INVENTORY_CURRENT = "InventoryCurrent"
    READY = "Ready"


class Reason(StrEnum):
    """Why a condition is what it is; also the reason of the Event that tells of it."""

    PENDING_EVALUATION = "PendingEvaluation"

    WITHIN_QUOTA = "WithinQuota"
    BORROWING = "Borrowing"
    POOL_NOT_FOUND = "PoolNotFound"
    NO_DEFAULT_POOL = "NoDefaultPool"
    WAITING_FOR_QUOTA = "WaitingForQuota"
    EXCEEDS_QUOTA = "ExceedsQuota"
    EXCEEDS_DEVICE = "ExceedsDevice"

    BOUND = "Bound"
    NO_FIT = "NoFit"
    RECLAIMED = "Reclaimed"
    WAITING_FOR_PODS = "WaitingForPods"

    LIMITS_APPLIED = "LimitsApplied"
    SHIM_MISSING = "ShimMissing"
    LIMITS_REFUSED = "LimitsRefused"
    WAITING_FOR_AGENT = "WaitingForAgent"

    GROWING = "Growing"
    SHRINKING = "Shrinking"
    AT_TARGET = "AtTarget"
    DEFERRED = "Deferred"

    AT_MAX_REPLICAS = "AtMaxReplicas"
    WITHIN_BOUNDS = "WithinBounds"
    NOT_SCALED = "NotScaled"
    SCALED_BY_ANOTHER = "ScaledByAnother"
    TARGET_UNAVAILABLE = "TargetUnavailable"
    METRICS_UNAVAILABLE = "MetricsUnavailable"

    SLICES_READY = "SlicesReady"
    DELETING = "Deleting"

    AGENTS_REPORTING = "AgentsReporting"
    AGENTS_SILENT = "AgentsSilent"
    NO_NODES = "NoNodes"
    DEVICES_READY = "DevicesReady"
    NO_DEVICES = "NoDevices"
    POOLS_OVERLAP = "PoolsOverlap"


class Signer(StrEnum):
    """Who alone may write a condition."""

    QUOTA = "quota"
    LEDGER = "ledger"
    ENFORCEMENT = "enforcement"
    ELASTICITY = "elasticity"
    SCALING = "scaling"
    INVENTORY = "inventory"
    SUMMARY = "summary"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Who signs a condition, and the reasons it may give for each status."""

    signer: Signer
    true: tuple[Reason, ...]
    false: tuple[Reason, ...]
    unknown: tuple[Reason, ...]

    def reasons(self, status: Status) -> tuple[Reason, ...]:
        """The reasons that go with one status."""
        return {Status.TRUE: self.true, Status.FALSE: self.false, Status.UNKNOWN: self.unknown}[status]


_ACCEPTED = Rules(
    signer=Signer.QUOTA,
    true=(Reason.WITHIN_QUOTA, Reason.BORROWING),
    false=(
        Reason.POOL_NOT_FOUND,
        Reason.NO_DEFAULT_POOL,
        Reason.WAITING_FOR_QUOTA,
        Reason.EXCEEDS_QUOTA,
        Reason.EXCEEDS_DEVICE,
    ),
    unknown=(Reason.PENDING_EVALUATION,),
)
_BOUND = Rules(
    signer=Signer.LEDGER,
    true=(Reason.BOUND,),
    false=(Reason.NO_FIT, Reason.WAITING_FOR_QUOTA, Reason.RECLAIMED),
    unknown=(Reason.PENDING_EVALUATION, Reason.WAITING_FOR_PODS),
)
_ENFORCED = Rules(
    signer=Signer.ENFORCEMENT,
    true=(Reason.LIMITS_APPLIED,),
    false=(Reason.SHIM_MISSING, Reason.LIMITS_REFUSED),
    unknown=(Reason.PENDING_EVALUATION, Reason.WAITING_FOR_PODS, Reason.WAITING_FOR_AGENT),
)
_RESIZING = Rules(
    signer=Signer.ELASTICITY,
    true=(Reason.GROWING, Reason.SHRINKING),
    false=(Reason.AT_TARGET,),
    unknown=(Reason.PENDING_EVALUATION, Reason.DEFERRED, Reason.METRICS_UNAVAILABLE),
)
_SCALING_LIMITED = Rules(
    signer=Signer.SCALING,
    true=(Reason.AT_MAX_REPLICAS, Reason.WAITING_FOR_QUOTA, Reason.NO_FIT),
    false=(Reason.WITHIN_BOUNDS, Reason.NOT_SCALED, Reason.SCALED_BY_ANOTHER),
    unknown=(Reason.PENDING_EVALUATION, Reason.METRICS_UNAVAILABLE, Reason.TARGET_UNAVAILABLE),
)
# Ready repeats the reason of the first of these that is in the way.
_READY_NEEDS = (_ACCEPTED, _BOUND, _ENFORCED)

CLAIM_TABLE: Mapping[ClaimCondition, Rules] = MappingProxyType(
    {
        ClaimCondition.ACCEPTED: _ACCEPTED,
        ClaimCondition.BOUND: _BOUND,
        ClaimCondition.ENFORCED: _ENFORCED,
        ClaimCondition.RESIZING: _RESIZING,
        ClaimCondition.SCALING_LIMITED: _SCALING_LIMITED,
        ClaimCondition.READY: Rules(
            signer=Signer.SUMMARY,
            true=(Reason.SLICES_READY,),
            false=(
                *dict.fromkeys(reason for needed in _READY_NEEDS for reason in needed.false),
                Reason.DELETING,
            ),
            unknown=tuple(dict.fromkeys(reason for needed in _READY_NEEDS for reason in needed.unknown)),
        ),
    }
)

POOL_TABLE: Mapping[PoolCondition, Rules] = MappingProxyType(
    {
        PoolCondition.INVENTORY_CURRENT: Rules(
            signer=Signer.INVENTORY,
            true=(Reason.AGENTS_REPORTING,),
            false=(Reason.AGENTS_SILENT, Reason.NO_NODES),
            unknown=(Reason.PENDING_EVALUATION,),
        ),
        PoolCondition.READY: Rules(
            signer=Signer.SUMMARY,
            true=(Reason.DEVICES_READY,),
            false=(
                Reason.NO_NODES,
                Reason.NO_DEVICES,
                Reason.POOLS_OVERLAP,
                Reason.AGENTS_SILENT,
                Reason.DELETING,
            ),
            unknown=(Reason.PENDING_EVALUATION,),
        ),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """What a signer says now. Raises ValueError where the tables do not give the status that reason."""

    type: ClaimCondition | PoolCondition
    status: Status
    reason: Reason
    message: str

    def __post_init__(self) -> None:
        known = rules(self.type).reasons(self.status)
        if self.reason not in known:
            raise ValueError(
                f"{self.type} {self.status}: expected one of the reasons {', '.join(known)}, "
                f"found {self.reason}; choose one of them or add it to the table"
            )


def rules(of: ClaimCondition | PoolCondition) -> Rules:
    """The table's row of one condition."""
    return CLAIM_TABLE[of] if isinstance(of, ClaimCondition) else POOL_TABLE[of]


def merge(
    existing: Iterable[Mapping[str, Any]], new: Iterable[Condition], *, now: float, generation: int
) -> list[dict[str, Any]]:
    """The list to write: new conditions in the place of those of their type, all others as they were.

    lastTransitionTime moves to ``now`` (seconds since the epoch) only where the status changes.
    """
    merged = {entry["type"]: dict(entry) for entry in existing}
    for condition in new:
        before = merged.get(condition.type, {})
        merged[str(condition.type)] = _to_json(condition, before=before, now=now, generation=generation)
    return list(merged.values())


def _to_json(
    condition: Condition, *, before: Mapping[str, Any], now: float, generation: int
) -> dict[str, Any]:
    unchanged = before.get("status") == condition.status and "lastTransitionTime" in before
    return {
        "type": str(condition.type),
        "status": str(condition.status),
        "observedGeneration": generation,
        "lastTransitionTime": before["lastTransitionTime"] if unchanged else timestamps.format_time(now),
        "reason": str(condition.reason),
        "message": condition.message,
    }
