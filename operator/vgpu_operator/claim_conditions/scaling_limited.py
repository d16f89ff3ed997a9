"""ScalingLimited: whether the loop would have other replicas than it may; no loop scales replicas yet."""

from vgpu.api.conditions import ClaimCondition, Condition, Reason
from vgpu_operator.claim_conditions import saying


def condition() -> Condition:
    """False: the replicas are the workload's own."""
    message = "replicas are the workload's own; the operator scales none"
    return saying.false(ClaimCondition.SCALING_LIMITED, Reason.NOT_SCALED, message)
