"""What the loop knows when it decides about one claim: its slices, its signals, what the pool could give.

Shares are percent of one GPU, rates are units of work per second. Nothing is decided here.
"""

from dataclasses import dataclass

from vgpu import values
from vgpu.elasticity import work


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceFacts:
    """One slice of the claim.

    ``room`` is what its devices could give on top of what it holds, to all its slices there together;
    ``neighbours_percent`` is what others hold there.
    ``used_percent`` and ``throttled`` (0 to 1) are the shim's accounts of the last period, None when unknown;
    ``memory_peak_bytes`` is the most memory in use lately, ``memory_denied`` tells of a refused allocation
    that nothing has answered, ``memory_denied_bytes`` how large such a one is.
    """

    id: str
    requests: values.Amounts
    allocated: values.Amounts
    limits: values.Amounts
    room: values.Amounts
    device_uuids: tuple[str, ...] = ()
    neighbours_percent: int = 0
    ready: bool = True
    asleep: bool = False
    used_percent: float | None = None
    throttled: float | None = None
    memory_peak_bytes: int | None = None
    memory_denied: bool = False
    memory_denied_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The rate of work over the second that ended at ``at``."""

    at: float
    rate: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """A measured value that must not exceed its maximum; None when it could not be measured."""

    name: str
    value: float | None
    maximum: float

    @property
    def broken(self) -> bool:
        """True when a measured value lies above the maximum."""
        return self.value is not None and self.value > self.maximum

    @property
    def excess(self) -> float:
        """The value over its maximum, at least 1; unmeasured values and maxima of nothing count as met."""
        return max(1.0, self.value / self.maximum) if self.value is not None and self.maximum > 0 else 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolFacts:
    """What limits growth beyond the slices' own devices.

    ``free`` is the part of the pool's compute that nobody holds (0 to 1), ``placeable`` how many more
    replicas placement and quota would take now, ``quota_percent`` how much more compute the quota admits
    (None: any). ``devices`` counts the devices in use on which the claim has or could have a replica.
    ``lacking`` is the part of the pool's compute that other claims' devices refused them at their last look.
    """

    free: float
    placeable: int
    devices: int = 0
    lacking: float = 0.0
    quota_percent: int | None = None
    quota_memory_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimFacts:
    """Everything about one claim at one moment.

    ``samples`` are rates newer than those of the last decision. ``queued`` is the work that waits, and
    ``batch`` how much of it one replica takes at once. ``curve`` says what a slice of each size serves.
    ``replicas`` is what the target has, None where the claim does not scale. After ``idle_seconds`` without
    work it needs no more than ``min_replicas`` (None: only as demand falls); ``waiting`` is the work that
    waits where there is no replica, None when unknown.
    """

    slices: tuple[SliceFacts, ...]
    curve: work.Curve
    pool: PoolFacts
    samples: tuple[Sample, ...] = ()
    queued: float | None = None
    batch: float = 1.0
    objectives: tuple[Objective, ...] = ()
    replicas: int | None = None
    min_replicas: int = 1
    max_replicas: int = 1
    can_sleep: bool = False
    idle_seconds: float | None = None
    waiting: float | None = None
