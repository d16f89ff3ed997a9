"""ScalingLimited: whether the loop would have other replicas than it may, and who decides if it does not."""

from vgpu.api import conditions
from vgpu.api.conditions import ClaimCondition, Condition, Reason, Status
from vgpu_operator.claim_conditions.facts import Facts

KIND = ClaimCondition.SCALING_LIMITED


def condition(facts: Facts) -> Condition:
    """What the loop's last look came to; without a loop, that nothing is scaled or why."""
    if facts.outcome is not None:
        told = facts.outcome.scaling
        return Condition(type=KIND, status=_status(told.reason), reason=told.reason, message=told.message)
    if facts.claim.scaling is None:
        return _said(Reason.NOT_SCALED, "replicas are the workload's own; the operator scales none")
    if not facts.loop_runs:
        message = "the operator was started without --prometheus-url; slices and replicas stay as they are"
        return _said(Reason.METRICS_UNAVAILABLE, message)
    return _said(Reason.PENDING_EVALUATION, "the load has not been looked at yet")


def _said(reason: Reason, message: str) -> Condition:
    return Condition(type=KIND, status=_status(reason), reason=reason, message=message)


def _status(reason: Reason) -> Status:
    """The status under which the table gives a reason."""
    rules = conditions.rules(KIND)
    return next(status for status in Status if reason in rules.reasons(status))
