"""A decision in one sentence: what was seen, what changes, and what held it back. Nothing is decided here."""

from vgpu import values
from vgpu.elasticity import decision, facts


def sentence(claim: facts.ClaimFacts, decided: decision.Decision) -> str:
    """Such as ``p99-ms 243 > 200: compute 40 to 60 %, memory kept``; sums over the slices that change."""
    parts = [*_sizes(claim, decided), *_replicas(claim, decided), *decided.clamps]
    seen = decided.message or _seen(decided)
    return f"{seen}: {', '.join(parts)}" if parts else seen


def _seen(decided: decision.Decision) -> str:
    rate, expected = decided.signals.get("rate"), decided.inputs.get("expectedRate")
    if rate is None or expected is None:
        return str(decided.reason)
    return f"{rate:.3g} a second, sized for {expected:.3g}"


def _sizes(claim: facts.ClaimFacts, decided: decision.Decision) -> list[str]:
    changed = [each for each in claim.slices if each.id in decided.allocations]
    if not changed:
        return []
    before = sum((each.allocated for each in changed), values.NOTHING)
    after = sum((decided.allocations[each.id] for each in changed), values.NOTHING)
    over = [f"over {len(changed)} slices"] if len(changed) > 1 else []
    return [_compute(before, after), _memory(before, after), *over]


def _compute(before: values.Amounts, after: values.Amounts) -> str:
    if before.compute_percent == after.compute_percent:
        return "compute kept"
    return f"compute {before.compute_percent} to {after.compute_percent} %"


def _memory(before: values.Amounts, after: values.Amounts) -> str:
    if before.memory_bytes == after.memory_bytes:
        return "memory kept"
    return f"memory {before.memory_bytes / values.GIB:.3g} to {after.memory_bytes / values.GIB:.3g} GiB"


def _replicas(claim: facts.ClaimFacts, decided: decision.Decision) -> list[str]:
    if decided.replicas is None or decided.replicas == claim.replicas:
        return []
    return [f"replicas {claim.replicas} to {decided.replicas}"]
