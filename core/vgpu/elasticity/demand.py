"""The rates a claim should be sized for: what its samples say now, lately and shortly, and its alarms."""

from dataclasses import dataclass, replace

from vgpu.elasticity import facts, forecast, pace, settings, state


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """Rates of work per second: ``asked`` sizes shares, ``needed`` replicas; headroom is in both.

    ``expected`` is what is asked for without the alarm. ``reserve`` is the present rate with the largest rise
    seen lately within the time a replica starts in.
    ``alarm`` is by how much waiting work or a broken objective multiplies them (1 is none).
    """

    rate: float
    expected: float
    asked: float
    needed: float
    reserve: float
    slope: float
    alarm: float
    pace: pace.Pace
    reasons: tuple[str, ...]


def measured(
    claim: facts.ClaimFacts, before: state.State, rule: settings.Settings, *, now: float
) -> tuple[Demand, state.State]:
    """The demand and the state that remembers it; the samples must not be empty."""
    rates, at = state.seen(before, claim.samples)
    calm = claim.pool.free <= 0.0
    allowed = paced(claim.pool, rule)
    rise = _rise(rates, rule, calm=calm)
    present = forecast.mean(rates[-rule.mean_window :])
    expected = _expected(claim, rates, allowed, rule)
    needed = max(
        allowed.headroom * forecast.median(rates[-rule.median_window :]),
        (present + rule.start_seconds * rise) / rule.target_use,
    )
    alarm, reasons = _alarm(claim, rule, calm=calm)
    after = replace(
        before,
        rates=rates,
        sampled_at=at,
        expected=state.recent(before.expected, expected, now=now, window=allowed.window_seconds),
        needed=state.recent(before.needed, needed, now=now, window=rule.stabilization_seconds),
        surges=state.recent(before.surges, _surge(rates, rule), now=now, window=rule.surge_seconds),
        alarm_until=now + rule.alarm_seconds if alarm > 1 else before.alarm_until,
    )
    ahead = 0.0 if is_short(claim.pool, rule) else _ahead(rates, allowed, rule)
    expected = max(after.expected[0][1], expected + ahead)
    return (
        Demand(
            rate=present,
            expected=expected,
            asked=expected * min(alarm, rule.alarm_share),
            needed=after.needed[0][1],
            reserve=allowed.headroom * (present + max(after.surges[0][1], rule.surge_part * present)),
            slope=rise,
            alarm=alarm,
            pace=allowed,
            reasons=reasons,
        ),
        after,
    )


def paced(pool: facts.PoolFacts, rule: settings.Settings) -> pace.Pace:
    """The pace in this pool: by its free part, and by what its other claims lack."""
    ease = min(1.0, max(0.0, pool.free / rule.free_part))
    strain = min(1.0, pool.lacking / rule.lacking_part)
    return pace.between(pace.between(rule.full, rule.roomy, ease), rule.short, strain)


def is_short(pool: facts.PoolFacts, rule: settings.Settings) -> bool:
    """True where others lack so much that what this claim has to spare is theirs."""
    return pool.lacking >= rule.lacking_part


def _surge(rates: tuple[float, ...], rule: settings.Settings) -> float:
    """How much the rate has risen within the time a replica takes to start; zero while history is short."""
    before = rates[-rule.mean_window - int(rule.start_seconds) : -int(rule.start_seconds)]
    return max(0.0, forecast.mean(rates[-3:]) - forecast.mean(before)) if before else 0.0


def _rise(rates: tuple[float, ...], rule: settings.Settings, *, calm: bool) -> float:
    if calm:
        return 0.0
    line = forecast.trend(rates[-rule.trend_window :])
    return line.slope if line.significant(rule.trend_errors) else 0.0


def _expected(
    claim: facts.ClaimFacts, rates: tuple[float, ...], allowed: pace.Pace, rule: settings.Settings
) -> float:
    """The capacity that the present rate needs: what is surely there, and room for its chance."""
    batched, variance = claim.batch > 1, forecast.noise(rates)
    return allowed.headroom * forecast.capacity(
        forecast.level(rates, variance=variance, errors=rule.level_errors),
        variance=variance,
        patience=claim.batch / claim.curve.efficient_rate if batched else rule.patience_seconds,
        risk=allowed.risk,
    )


def _ahead(rates: tuple[float, ...], allowed: pace.Pace, rule: settings.Settings) -> float:
    """What a ramp adds until growth that is decided now takes effect."""
    return allowed.headroom * rule.lead_seconds * forecast.ramp(rates, errors=rule.ramp_errors)


def _alarm(claim: facts.ClaimFacts, rule: settings.Settings, *, calm: bool) -> tuple[float, tuple[str, ...]]:
    awake = sum(1 for each in claim.slices if each.ready and not each.asleep)
    reasons = [f"{each.name} {each.value:g} > {each.maximum:g}" for each in claim.objectives if each.broken]
    alarm = max((each.excess for each in claim.objectives), default=1.0)
    tolerated = rule.alarm_batches * claim.batch * max(1, awake)
    if claim.queued is not None and claim.queued > tolerated:
        reasons.append(f"{claim.queued:g} waiting > {tolerated:g}")
        alarm = max(alarm, claim.queued / tolerated)
    return (1.0 if calm else alarm), tuple(reasons)
