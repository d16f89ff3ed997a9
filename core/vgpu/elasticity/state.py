"""What the loop remembers of one claim between two decisions, and how it takes in new samples.

A value: a restarted loop begins with ``EMPTY`` and the samples that the metrics store still has.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from vgpu.elasticity import facts

KEPT_SAMPLES = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """``rates`` are the last samples, oldest first; ``expected`` and ``needed`` what was derived, by time.

    ``expected`` sizes shares, ``needed`` replicas, ``surges`` the rises within a start's
    time. ``grown_at`` and ``asleep_since`` tell when each slice last grew, and since when it sleeps,
    ``busy_at`` when work was last seen; the first look counts as growth and as work.
    """

    rates: tuple[float, ...] = ()
    sampled_at: float | None = None
    expected: tuple[tuple[float, float], ...] = ()
    needed: tuple[tuple[float, float], ...] = ()
    surges: tuple[tuple[float, float], ...] = ()
    alarm_until: float = 0.0
    refused_since: float | None = None
    busy_at: float | None = None
    grown_at: Mapping[str, float] = field(default_factory=dict)
    asleep_since: Mapping[str, float] = field(default_factory=dict)


EMPTY = State()


def seen(state: State, samples: Iterable[facts.Sample]) -> tuple[tuple[float, ...], float | None]:
    """The kept rates and the time of the newest, with the samples that are really newer."""
    at, rates = state.sampled_at, list(state.rates)
    for sample in samples:
        if (at is None or sample.at > at) and sample.rate >= 0:  # NaN fails the comparison too
            rates.append(sample.rate)
            at = sample.at
    return tuple(rates[-KEPT_SAMPLES:]), at


def recent(
    series: tuple[tuple[float, float], ...], value: float, *, now: float, window: float
) -> tuple[tuple[float, float], ...]:
    """The series of the window with the new value; values that a later, larger one covers are dropped."""
    start = 0
    end = len(series)
    while start < end and series[start][0] < now - window:
        start += 1
    while end > start and series[end - 1][1] <= value:
        end -= 1
    return (*series[start:end], (now, value))


def met(before: State, slices: Iterable[facts.SliceFacts], *, now: float) -> State:
    """The state that knows these slices and no others; who is new may have grown a moment ago."""
    grown_at = {each.id: before.grown_at.get(each.id, now) for each in slices}
    return before if grown_at == before.grown_at else replace(before, grown_at=grown_at)
