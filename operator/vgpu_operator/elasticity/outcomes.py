"""What a look at a claim came to, as its status will tell it. Pure; what it means is decided before."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vgpu.api import timestamps
from vgpu.api.conditions import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A condition's reason and its sentence."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Replicas:
    """Replicas that a target has, and that it shall have."""

    current: int
    desired: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Last:
    """The last change that was made or asked for."""

    at: float
    action: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """``scaling`` is about replicas; ``sizing`` tells why no slice is sized, or none as large as needed."""

    scaling: Told
    sizing: Told | None = None
    replicas: Replicas | None = None
    last: Last | None = None


def to_status(outcome: Outcome | None, before: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a claim's status; what a process that has just begun does not know yet stays."""
    fields = {name: before[name] for name in ("replicas", "lastDecision") if name in before}
    if outcome is None:
        return fields
    fields.pop("replicas", None)
    if outcome.replicas is not None:
        fields["replicas"] = {"current": outcome.replicas.current, "desired": outcome.replicas.desired}
    if outcome.last is not None:
        fields["lastDecision"] = {
            "time": timestamps.format_time(outcome.last.at),
            "action": outcome.last.action,
            "reason": outcome.last.reason,
            "message": outcome.last.message[:1024],
        }
    return fields
