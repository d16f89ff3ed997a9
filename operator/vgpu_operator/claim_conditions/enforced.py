"""Enforced: whether the nodes have put the limits of every slice in force."""

from vgpu import values
from vgpu.api.conditions import ClaimCondition, Condition, Reason
from vgpu_operator.claim_conditions import saying
from vgpu_operator.claim_conditions.facts import Facts, nodes_of

KIND = ClaimCondition.ENFORCED


def condition(facts: Facts) -> Condition:
    """True when every node has confirmed; else which has not, or has refused, and why."""
    if not facts.holdings:
        message = "no pod holds a slice whose limits could be in force"
        return saying.unknown(KIND, Reason.WAITING_FOR_PODS, message)
    refused = [each for each in facts.holdings if each.state is values.EnforcementState.REFUSED]
    if refused:
        said = refused[0].enforced.message if refused[0].enforced else ""
        message = f"{nodes_of(refused)} cannot apply the limits: {said or 'no reason given'}"
        return saying.false(KIND, Reason.LIMITS_REFUSED, message)
    silent = [each for each in facts.holdings if not each.confirmed]
    if silent:
        message = f"limits not confirmed yet by {nodes_of(silent)}; if it stays so, look at vgpu-agent there"
        return saying.unknown(KIND, Reason.WAITING_FOR_AGENT, message)
    return saying.true(KIND, Reason.LIMITS_APPLIED, f"the limits of {facts.served} are in force")
