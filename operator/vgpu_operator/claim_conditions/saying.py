"""The three ways to say a condition of a claim; a reason that its table lacks raises ValueError."""

from vgpu.api.conditions import ClaimCondition, Condition, Reason, Status


def true(kind: ClaimCondition, reason: Reason, message: str) -> Condition:
    """The condition holds."""
    return Condition(type=kind, status=Status.TRUE, reason=reason, message=message)


def false(kind: ClaimCondition, reason: Reason, message: str) -> Condition:
    """The condition does not hold."""
    return Condition(type=kind, status=Status.FALSE, reason=reason, message=message)


def unknown(kind: ClaimCondition, reason: Reason, message: str) -> Condition:
    """The signer cannot tell yet."""
    return Condition(type=kind, status=Status.UNKNOWN, reason=reason, message=message)
