"""The loop's constants in one place, with where each comes from. No decision is made here."""

from dataclasses import dataclass

from vgpu import values
from vgpu.elasticity import pace


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How the loop reacts; times are seconds. The experiments: docs/decisions/0003-dual-elastic-rule.md."""

    roomy: pace.Pace = pace.ROOMY
    """While a good part of the pool is free."""

    full: pace.Pace = pace.FULL
    """When nothing of the pool is free: it gives back sooner."""

    short: pace.Pace = pace.SHORT
    """While others of the pool lack compute: what one keeps, another lacks."""

    free_part: float = 0.2
    """Below this free part a pool is on its way to full, where no forecast or alarm enlarges anything."""

    lacking_part: float = 0.02
    """Others that lack this part of the pool's compute make it short."""

    level_errors: float = 2.0
    """Standard errors of chance above which a short mean of the rate is believed."""

    ramp_errors: float = 4.0
    """Standard errors of chance above which a ramp is believed."""

    lead_seconds: float = 3.0
    """How far ahead a ramp is followed: a second each for the signal, the growth, and a sleeper to wake."""

    patience_seconds: float = 1.0
    """How long work may wait where no batch says it."""

    median_window: int = 15
    """Samples of which the median is what lasts; replicas follow what lasts."""

    mean_window: int = 8
    """Samples that make up the rate of now."""

    trend_window: int = 40
    """Samples of the trend."""

    trend_errors: float = 4.0
    """Standard errors above which a rise is believed."""

    start_seconds: float = 25.0
    """How far ahead replicas are asked for: the time one takes to start."""

    target_use: float = 0.9
    """Part of the replicas' capacity that a forecast may fill."""

    alarm_batches: float = 1.5
    """More waiting work than this many batches per replica is an alarm."""

    alarm_seconds: float = 10.0
    """How long an alarm's larger replica set is kept."""

    alarm_share: float = 2.0
    """The most by which an alarm multiplies the shares."""

    alarm_replicas: float = 1.5
    """The most by which an alarm multiplies the replicas."""

    refused_part: float = 0.1
    """Growth refused by the devices beyond this part asks for one replica elsewhere."""

    refused_seconds: float = 5.0
    """How long that has to last."""

    deadband: float = 0.1
    """Changes of one slice below this part of its allocation are not made while others suffice."""

    lack: float = 0.02
    """A claim's slices grow when together they serve less than asked by more than this part of it."""

    stale_seconds: float = 15.0
    """Without a sample for this long nothing is changed."""

    stabilization_seconds: float = 300.0
    """Replicas follow the largest need of this time on their way down."""

    asleep_seconds: float = 600.0
    """How long a surplus replica sleeps before it is removed."""

    surge_seconds: float = 1800.0
    """The largest rise within a start's time of this long is what sleepers are kept for."""

    surge_part: float = 0.3
    """A rise of this part of the rate is expected even where none has been seen."""

    memory_margin: float = 1.05
    """Memory is sized for the peak in use times this: growth is live, so no restart has to be spared."""

    memory_step: float = 1.2
    """A refused allocation enlarges memory by at least this factor (VPA's step after OOM)."""

    memory_grain_bytes: int = 256 * values.MIB
    """Memory comes in whole multiples of this: sizes that people can read and nodes can pack."""


DEFAULT = Settings()
