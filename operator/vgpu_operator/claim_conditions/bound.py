"""Bound: whether every pod of the claim has its slice in the ledger."""

from vgpu import values
from vgpu.api import names
from vgpu.api.conditions import ClaimCondition, Condition, Reason
from vgpu.placement import choice
from vgpu_operator import known, wording
from vgpu_operator.claim_conditions import saying
from vgpu_operator.claim_conditions.facts import Facts, nodes_of

KIND = ClaimCondition.BOUND


def condition(facts: Facts) -> Condition:
    """True when nobody waits; else who waits, and for what."""
    if facts.waiting:
        return _waiting(facts)
    if not facts.holdings:
        label = f"{names.CLAIM_LABEL}: {facts.claim.ref.name}"
        message = f"no pod has joined the claim; give the pods of your workload the label {label}"
        return saying.unknown(KIND, Reason.WAITING_FOR_PODS, message)
    slices = wording.counted(len(facts.holdings), "slice")
    return saying.true(KIND, Reason.BOUND, f"{facts.served} on {nodes_of(facts.holdings)} in {slices}")


def _waiting(facts: Facts) -> Condition:
    who = _who_waits(facts.waiting) + (f": {facts.gang}" if facts.gang else "")
    match facts.verdict:
        case choice.NoFit() as no_fit:
            return saying.false(KIND, Reason.NO_FIT, f"{who}: {no_fit.message}{facts.help}")
        case values.Refusal(reason=values.Reason.POOL_NOT_FOUND) | None:
            return saying.unknown(KIND, Reason.PENDING_EVALUATION, f"{who} until the claim is accepted")
        case values.Refusal() as refusal:
            message = f"{who}: {refusal.message}{facts.help}"
            return saying.false(KIND, Reason.WAITING_FOR_QUOTA, message)
        case choice.Placement() if facts.gang:
            return saying.unknown(KIND, Reason.PENDING_EVALUATION, who)
        case choice.Placement(node=node):
            said = facts.waiting[0].saying
            scheduler = f"; kube-scheduler said last: {said}" if said else ""
            message = f"{who} for kube-scheduler; {node} has room{scheduler}"
            return saying.unknown(KIND, Reason.PENDING_EVALUATION, message)


def _who_waits(waiting: tuple[known.Pod, ...]) -> str:
    others = wording.counted(len(waiting) - 1, "other pod")
    first = f"pod {waiting[0].ref.name}"
    return f"{first} waits" if len(waiting) == 1 else f"{first} and {others} wait"
