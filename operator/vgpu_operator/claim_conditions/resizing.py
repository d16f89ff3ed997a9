"""Resizing: whether slices are on their way to another size, and what holds them up."""

from vgpu import values
from vgpu.api.conditions import ClaimCondition, Condition, Reason
from vgpu_operator import wording
from vgpu_operator.claim_conditions import saying
from vgpu_operator.claim_conditions.facts import Facts, nodes_of
from vgpu_operator.holdings import Holding

KIND = ClaimCondition.RESIZING


def condition(facts: Facts) -> Condition:
    """True on the way, False at the target, Unknown while it is deferred, with the reason."""
    if facts.refused_edit is not None:
        return saying.unknown(KIND, Reason.DEFERRED, _refused_edit(facts, facts.refused_edit))
    held = [each for each in facts.holdings if each.state is values.EnforcementState.SHRINKING]
    if held:
        return saying.unknown(KIND, Reason.DEFERRED, _still_held(held))
    shrinking = [each for each in facts.holdings if not each.confirmed and _frees(each)]
    if shrinking:
        message = f"limits on {nodes_of(shrinking)} go down to {_targets(shrinking)}"
        return saying.true(KIND, Reason.SHRINKING, message)
    if facts.refused_growth is not None:
        return saying.unknown(KIND, Reason.DEFERRED, f"growth waits: {facts.refused_growth.message}")
    growing = [each for each in facts.holdings if each.slice.wanted is not None or _grows(each)]
    if growing:
        message = f"slices on {nodes_of(growing)} grow to {_targets(growing)}"
        return saying.true(KIND, Reason.GROWING, message)
    sizing = facts.outcome.sizing if facts.outcome is not None else None
    if sizing is not None:
        return saying.unknown(KIND, sizing.reason, sizing.message)
    return saying.false(KIND, Reason.AT_TARGET, "every slice has the size it shall have")


def _refused_edit(facts: Facts, refusal: values.Refusal) -> str:
    kept = {f"{each.slice.requests} to {each.slice.limits}" for each in facts.holdings}
    return f"the edit waits and slices keep {wording.listed(kept)}: {refusal.message}"


def _still_held(held: list[Holding]) -> str:
    bytes_held = max(each.enforced.memory_bytes for each in held if each.enforced is not None)
    return (
        f"the application on {nodes_of(held)} still holds {bytes_held / values.GIB:g} GiB;"
        f" the slice shrinks to {_targets(held)} as it frees memory"
    )


def _frees(holding: Holding) -> bool:
    return holding.slice.held_memory_bytes > holding.slice.allocated.memory_bytes


def _grows(holding: Holding) -> bool:
    enforced = holding.enforced
    if enforced is None or holding.confirmed:
        return False
    in_force = values.Amounts(memory_bytes=enforced.memory_bytes, compute_percent=enforced.compute_percent)
    return not in_force.covers(holding.slice.allocated)


def _targets(holdings: list[Holding]) -> str:
    return wording.listed({str(each.slice.wanted or each.slice.allocated) for each in holdings})
