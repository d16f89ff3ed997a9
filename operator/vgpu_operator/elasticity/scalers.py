"""Who decides how many replicas a claim's target has: the loop, the claim, somebody else, or nobody."""

from dataclasses import dataclass

from vgpu import values
from vgpu.api.conditions import Reason
from vgpu_operator.elasticity.assembly import Subject
from vgpu_operator.elasticity.outcomes import Told
from vgpu_operator.elasticity.rivals import Rivals
from vgpu_operator.elasticity.series import Trouble
from vgpu_operator.elasticity.targets import Scale, Targets


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaler:
    """``scale`` is what the target has, where that matters; ``asked`` what the claim itself asks it to have.

    ``other`` is why the loop decides nothing; None where it does.
    """

    scale: Scale | None = None
    asked: int | None = None
    other: Told | None = None


async def of(subject: Subject, targets: Targets, rivals: Rivals, *, fresh: bool) -> Scaler:
    """Who scales what the claim names. Raises nothing."""
    scaling = subject.claim.scaling
    if scaling is None:
        return _other(Reason.NOT_SCALED, "replicas are the workload's own; the operator scales none")
    if subject.claim.mode is values.AllocationMode.SHARED:
        return _other(Reason.NOT_SCALED, "pods of a Shared claim live in one slice; more of them add nothing")
    namespace, target = subject.claim.ref.namespace, scaling.target
    scale = await targets.scale(namespace, target, fresh=fresh)
    if isinstance(scale, Trouble):
        return _other(Reason.TARGET_UNAVAILABLE, scale.reason)
    rival = rivals.of(namespace, target)
    if rival is not None:
        words = f"HorizontalPodAutoscaler {rival} scales {target}; replicas are left to it, slices are sized"
        return Scaler(scale=scale, other=Told(reason=Reason.SCALED_BY_ANOTHER, message=words))
    if scaling.replicas is not None:
        words = f"{target} has as many replicas as scaling.replicas says; slices are sized"
        asked = min(scaling.max_replicas, max(scaling.min_replicas, scaling.replicas))
        return Scaler(scale=scale, asked=asked, other=Told(reason=Reason.SCALED_BY_ANOTHER, message=words))
    return Scaler(scale=scale)


def _other(reason: Reason, message: str) -> Scaler:
    return Scaler(other=Told(reason=reason, message=message))
