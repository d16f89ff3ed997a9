"""How a run went, beside the fixed slices that the same load would have needed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from vgpu_cli.simulation.world import Moment, Service

HOUR_PERCENT = 360_000.0
"""Percent-seconds of a GPU-hour."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Totals of a run. A late second is one at whose end work has waited longer than allowed.

    ``fixed_gpu_hours`` is what slices of the ceiling cost, as many as the peak needs, all the time;
    ``floor_late_seconds`` how late the first replicas would have been at their floors.
    """

    seconds: int
    late_seconds: int
    longest_wait: int
    gpu_hours: float
    fixed_replicas: int
    fixed_gpu_hours: float
    floor_late_seconds: int
    most_replicas: int
    decisions: int


def of(
    moments: Sequence[Moment],
    at_floor: Sequence[Moment],
    service: Service,
    *,
    decisions: int,
    max_wait: float,
) -> Outcome:
    """The outcome of a run, beside one of the same load in which nothing was decided."""
    ceiling = service.limits.compute_percent
    peak = max(each.rate for each in moments)
    fixed = max(1, math.ceil(peak / service.curve.rate_at(ceiling) - 1e-9))
    return Outcome(
        seconds=len(moments),
        late_seconds=sum(each.wait > max_wait for each in moments),
        longest_wait=max(each.wait for each in moments),
        gpu_hours=sum(each.percent for each in moments) / HOUR_PERCENT,
        fixed_replicas=fixed,
        fixed_gpu_hours=fixed * ceiling * len(moments) / HOUR_PERCENT,
        floor_late_seconds=sum(each.wait > max_wait for each in at_floor),
        most_replicas=max(each.replicas for each in moments),
        decisions=decisions,
    )
