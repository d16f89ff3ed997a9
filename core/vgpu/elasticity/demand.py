"""The rates a claim should be sized for: what its samples say now, lately and shortly, and its alarms."""

import math
from dataclasses import dataclass, replace

from vgpu.elasticity import facts, forecast, settings, state


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """Rates of work per second. ``expected`` sizes shares, ``needed`` replicas; headroom is in both.

    ``reserve`` is the present rate with the largest rise seen lately within the time a replica starts in.
    ``alarm`` is by how much waiting work or a broken objective multiplies them (1 is none). ``ease`` is how
    far the pool is from being full: 1 with enough free, 0 with nothing.
    """

    rate: float
    expected: float
    needed: float
    reserve: float
    headroom: float
    slope: float
    alarm: float
    calm: bool
    ease: float
    reasons: tuple[str, ...]


def measured(
    claim: facts.ClaimFacts, before: state.State, rule: settings.Settings, *, now: float
) -> tuple[Demand, state.State]:
    """The demand and the state that remembers it; the samples must not be empty."""
    rates, at = state.seen(before, claim.samples)
    calm = claim.pool.free <= 0.0
    part = _part(claim.pool.free, rule)
    factor = rule.calm_headroom + part * (rule.headroom - rule.calm_headroom)
    window = rule.calm_window + part * (rule.share_window - rule.calm_window)
    rise = _rise(rates, rule, calm=calm)
    present = forecast.mean(rates[-rule.mean_window :])
    expected = factor * _expected(rates, rise, rule)
    needed = max(
        factor * forecast.median(rates[-rule.median_window :]),
        (present + rule.start_seconds * rise) / rule.target_use,
    )
    alarm, reasons = _alarm(claim, rule, calm=calm)
    after = replace(
        before,
        rates=rates,
        sampled_at=at,
        expected=state.recent(before.expected, expected, now=now, window=window),
        needed=state.recent(before.needed, needed, now=now, window=rule.stabilization_seconds),
        surges=state.recent(before.surges, _surge(rates, rule), now=now, window=rule.surge_seconds),
        alarm_until=now + rule.alarm_seconds if alarm > 1 else before.alarm_until,
    )
    return (
        Demand(
            rate=present,
            expected=after.expected[0][1],
            needed=after.needed[0][1],
            reserve=factor * (present + max(after.surges[0][1], rule.surge_part * present)),
            headroom=factor,
            slope=rise,
            alarm=alarm,
            calm=calm,
            ease=part,
            reasons=reasons,
        ),
        after,
    )


def _surge(rates: tuple[float, ...], rule: settings.Settings) -> float:
    """How much the rate has risen within the time a replica takes to start; zero while history is short."""
    before = rates[-rule.mean_window - int(rule.start_seconds) : -int(rule.start_seconds)]
    return max(0.0, forecast.mean(rates[-3:]) - forecast.mean(before)) if before else 0.0


def _part(free: float, rule: settings.Settings) -> float:
    """How far the pool is from being full: 1 with enough free, 0 with nothing."""
    return min(1.0, max(0.0, free / rule.calm_free))


def _rise(rates: tuple[float, ...], rule: settings.Settings, *, calm: bool) -> float:
    if calm:
        return 0.0
    line = forecast.trend(rates[-rule.trend_window :])
    return line.slope if line.significant(rule.trend_errors) else 0.0


def _expected(rates: tuple[float, ...], rise: float, rule: settings.Settings) -> float:
    """The rate of the last seconds, one deviation above, and what it rises until the next look."""
    believed = rates[-1] - math.sqrt(rates[-1])  # of one second, what exceeds the chance of its arrivals
    level = max(forecast.mean(rates[-3:]), believed)
    return level + forecast.deviation(rates[-rule.mean_window :]) + rise * rule.mean_window / 2


def _alarm(claim: facts.ClaimFacts, rule: settings.Settings, *, calm: bool) -> tuple[float, tuple[str, ...]]:
    awake = sum(1 for each in claim.slices if each.ready and not each.asleep)
    reasons = [f"{each.name} {each.value:g} > {each.maximum:g}" for each in claim.objectives if each.broken]
    alarm = max((each.excess for each in claim.objectives), default=1.0)
    tolerated = rule.alarm_batches * claim.batch * max(1, awake)
    if claim.queued is not None and claim.queued > tolerated:
        reasons.append(f"{claim.queued:g} waiting > {tolerated:g}")
        alarm = max(alarm, claim.queued / tolerated)
    return (1.0 if calm else alarm), tuple(reasons)
