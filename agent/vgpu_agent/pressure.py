"""What a slice has been lacking for long enough to wake the outer loop: pure, a clock's readings come in.

A flag rises when the lack has lasted a second (refused memory at once: the application has already been told
no) and falls after a few seconds without it, so that a slice at its edge does not write a status per blink.
"""

from dataclasses import dataclass, replace

from vgpu import values

RISES_SECONDS = 1.0
FALLS_SECONDS = 5.0

HELD_BACK = 0.1
"""Part of the time that launches of a slice were held back, from which on it lacks compute."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What happened to a slice between two looks, over all its devices."""

    seconds: float
    throttled_ns: int
    queued_ns: int
    refused: int
    wanted_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauge:
    """One flag: since when the lack has been there, when it was seen last, whether the flag is up."""

    since: float | None = None
    seen: float | None = None
    raised: bool = False

    def after(self, lacking: bool, *, now: float, rises_seconds: float) -> "Gauge":
        """The flag after one more look."""
        if lacking:
            since = now if self.since is None else self.since
            return Gauge(since=since, seen=now, raised=self.raised or now - since >= rises_seconds)
        calm = self.seen is None or now - self.seen >= FALLS_SECONDS
        return replace(self, since=None, raised=self.raised and not calm)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pressure:
    """The flags of one slice."""

    throttled: Gauge = Gauge()
    queued: Gauge = Gauge()
    memory: Gauge = Gauge()

    def after(self, look: Look, *, now: float) -> "Pressure":
        """The flags after one more look; ``now`` is in seconds of a clock that never goes back."""
        long = HELD_BACK * look.seconds * 1e9
        refused = look.refused > 0 or look.wanted_bytes > 0
        return Pressure(
            throttled=self.throttled.after(look.throttled_ns > long, now=now, rises_seconds=RISES_SECONDS),
            queued=self.queued.after(look.queued_ns > long, now=now, rises_seconds=RISES_SECONDS),
            memory=self.memory.after(refused, now=now, rises_seconds=0.0),
        )

    @property
    def lacks(self) -> tuple[values.Lack, ...]:
        """What is lacking, by the flags that are up."""
        flags = {
            values.Lack.THROTTLED: self.throttled,
            values.Lack.QUEUED: self.queued,
            values.Lack.MEMORY_REFUSED: self.memory,
        }
        return tuple(lack for lack, gauge in flags.items() if gauge.raised)
