"""What a claim says about itself: what its pods hold, in numbers.

Its conditions are decided in ``claim_conditions``.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from vgpu import values
from vgpu.api import amounts, names, quantity
from vgpu.api import claim as claim_api
from vgpu_operator.elasticity import outcomes
from vgpu_operator.elasticity.outcomes import Outcome
from vgpu_operator.holdings import Holding

LISTED_ALLOCATIONS = 256  # what the schema admits


def fields(
    claim: values.Claim,
    holdings: tuple[Holding, ...],
    created_at: Mapping[str, float],
    outcome: Outcome | None,
    before: Mapping[str, Any],
) -> dict[str, Any]:
    """The status without its conditions; by ``created_at``, from pod UIDs, the newest pods come first.

    ``before`` is what it says now, kept where the elastic loop has no ``outcome`` yet.
    """
    rows = [(holding, pod) for holding in holdings for pod in holding.slice.pods]
    rows.sort(key=lambda row: (-created_at.get(row[1].uid, 0.0), row[1].name))
    return {
        "podCount": len(rows),
        "allocated": amounts.to_json(sum(_totals(holdings), values.NOTHING)),
        "summary": claim_api.summary_to_json(claim),
        "allocations": [_allocation(holding, pod) for holding, pod in rows[:LISTED_ALLOCATIONS]],
        **outcomes.to_status(outcome, before),
        **_selector(claim),
    }


def _selector(claim: values.Claim) -> dict[str, str]:
    """Which pods the scale subresource speaks of, where there is one."""
    return {} if claim.scaling is None else {"selector": f"{names.CLAIM_LABEL}={claim.ref.name}"}


def _totals(holdings: tuple[Holding, ...]) -> Iterator[values.Amounts]:
    return (holding.slice.allocated.times(len(holding.slice.device_uuids)) for holding in holdings)


def _allocation(holding: Holding, pod: values.PodRef) -> dict[str, Any]:
    shown = {
        "podName": pod.name,
        "nodeName": holding.node,
        "deviceUUIDs": list(holding.slice.device_uuids),
        **amounts.to_json(holding.slice.allocated),
    }
    if holding.enforced is not None and holding.confirmed:
        shown["enforced"] = {
            "memory": quantity.format_bytes(holding.enforced.memory_bytes),
            "computePercent": holding.enforced.compute_percent,
        }
    return shown
