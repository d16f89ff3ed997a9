"""Ready: the one sentence that whoever is on call needs first."""

from collections.abc import Iterable

from vgpu.api.conditions import ClaimCondition, Condition, Reason, Status
from vgpu_operator.claim_conditions import saying
from vgpu_operator.claim_conditions.facts import Facts, leaving

KIND = ClaimCondition.READY


def condition(facts: Facts, needed: Iterable[Condition], resizing: Condition) -> Condition:
    """The first of the conditions it needs that is in the way, else what the pods have."""
    if facts.deleting:
        return saying.false(KIND, Reason.DELETING, leaving(facts.pods))
    in_the_way = next((each for each in needed if each.status is not Status.TRUE), None)
    if in_the_way is not None:
        return Condition(
            type=KIND, status=in_the_way.status, reason=in_the_way.reason, message=in_the_way.message
        )
    if resizing.reason is Reason.DEFERRED:
        return saying.true(KIND, Reason.SLICES_READY, f"{facts.served} served; {resizing.message}")
    bounds = f"between {facts.claim.requests} and {facts.claim.limits} per GPU"
    return saying.true(KIND, Reason.SLICES_READY, f"{facts.served} {bounds}")
