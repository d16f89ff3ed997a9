"""What a claim says about itself: six conditions, each decided in one file by its one signer.

Pure: from the facts to the sentences. What the facts are is kept in ``view``; numbers stand in
``claim_status``.
"""

from vgpu.api.conditions import Condition
from vgpu_operator.claim_conditions import accepted, bound, enforced, ready, resizing, scaling_limited
from vgpu_operator.claim_conditions.facts import Facts, leaving

__all__ = ["Facts", "leaving", "of"]


def of(facts: Facts) -> list[Condition]:
    """All six conditions, in the order in which a claim meets them."""
    needed = [accepted.condition(facts), bound.condition(facts), enforced.condition(facts)]
    size = resizing.condition(facts)
    return [*needed, size, scaling_limited.condition(facts), ready.condition(facts, needed, size)]
