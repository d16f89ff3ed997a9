from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import amounts
from vgpu import values
from vgpu.elasticity import decision, facts, settings, state, work

CURVE = work.curve([(10, 50.0), (20, 150.0), (30, 300.0), (50, 400.0), (100, 500.0)], floor_percent=5)
RULE = settings.DEFAULT


def slice_(
    id_: str = "a",
    *,
    percent: int = 30,
    floor: int = 5,
    most: int = 100,
    room: int = 70,
    asleep: bool = False,
) -> facts.SliceFacts:
    return facts.SliceFacts(
        id=id_,
        requests=amounts(4, floor),
        allocated=amounts(4, percent),
        limits=amounts(8, most),
        room=amounts(8, room),
        asleep=asleep,
        memory_peak_bytes=int(3.5 * values.GIB),
    )


def claim(*slices: facts.SliceFacts, rate: float | None = 200.0, **changes: object) -> facts.ClaimFacts:
    """A claim whose rate has been steady for as long as samples are kept, at time 100."""
    samples = () if rate is None else tuple(facts.Sample(at=40.0 + i, rate=rate) for i in range(61))
    whole = facts.ClaimFacts(
        slices=slices,
        curve=CURVE,
        pool=facts.PoolFacts(free=0.5, placeable=4),
        samples=samples,
        replicas=len(slices),
        max_replicas=8,
    )
    return replace(whole, **changes)  # type: ignore[arg-type]  # fields are named by the tests


def decide(
    of: facts.ClaimFacts, before: state.State = state.EMPTY, *, now: float = 100.0
) -> decision.Decision:
    return decision.decide(of, before, now=now, rule=RULE)[0]


def test_a_claim_at_its_size_is_left_alone() -> None:
    decided = decide(claim(slice_(percent=30), rate=230.0))

    assert (decided.action, decided.reason) == (decision.Action.HOLD, decision.Reason.AT_TARGET)
    assert not decided.allocations


def test_a_risen_rate_grows_the_slice_where_it_stands_at_once() -> None:
    decided = decide(claim(slice_(percent=10), rate=200.0))

    assert decided.action is decision.Action.GROW
    assert decided.reason is decision.Reason.DEMAND_ROSE
    assert CURVE.rate_at(decided.allocations["a"].compute_percent) >= 200 * RULE.roomy.headroom


def test_a_fallen_rate_shrinks_the_slice() -> None:
    known = state.State(grown_at={"a": 0.0})

    decided = decide(claim(slice_(percent=60), rate=100.0), known)

    assert (decided.action, decided.reason) == (decision.Action.SHRINK, decision.Reason.DEMAND_FELL)


def test_a_slice_that_grew_is_not_shrunk_within_the_hold() -> None:
    grown, after = decision.decide(claim(slice_(percent=10)), state.EMPTY, now=100.0, rule=RULE)
    now_larger = slice_(percent=grown.allocations["a"].compute_percent)
    fallen = claim(now_larger, rate=None, samples=(facts.Sample(at=101.0, rate=0.0),))
    after = replace(after, expected=(), rates=(0.0,) * 60)

    assert not decide(fallen, after, now=100.0 + RULE.roomy.hold_seconds - 1).allocations
    later = replace(fallen, samples=(facts.Sample(at=100.0 + RULE.roomy.hold_seconds, rate=0.0),))
    assert decide(later, after, now=100.0 + RULE.roomy.hold_seconds).allocations


def test_replicas_come_when_the_efficient_sizes_do_not_suffice() -> None:
    decided = decide(claim(slice_(percent=30), rate=1500.0))

    assert decided.action is decision.Action.SCALE_UP
    assert decided.replicas == 5  # one and the four that placement takes
    assert "placement and quota take 4 more" in decided.clamps


def test_replicas_that_cannot_be_placed_are_not_asked_for() -> None:
    full = claim(slice_(room=0), rate=1000.0, pool=facts.PoolFacts(free=0.5, placeable=0))

    decided = decide(full)

    assert decided.replicas == 1
    assert decided.limited
    assert decided.reason is decision.Reason.NO_ROOM


def test_replicas_fall_only_after_the_window() -> None:
    busy, after = decision.decide(claim(slice_("a"), slice_("b"), rate=400.0), state.EMPTY, now=100.0)
    idle = claim(slice_("a"), slice_("b"), rate=None)

    def at(now: float) -> int | None:
        quiet = replace(after, rates=(10.0,) * 60, sampled_at=now)
        return decide(idle, quiet, now=now).replicas

    assert busy.replicas == 2
    assert at(100.0 + RULE.stabilization_seconds - 1) == 2
    assert at(100.0 + RULE.stabilization_seconds + 1) == 1


@pytest.mark.parametrize("rate", [None, float("nan"), -1.0])
def test_nothing_moves_without_a_rate(rate: float | None) -> None:
    decided = decide(claim(slice_(percent=90), rate=rate))

    assert (decided.action, decided.reason) == (decision.Action.HOLD, decision.Reason.NO_SIGNAL)
    assert not decided.allocations
    assert decided.replicas == 1


def test_nothing_moves_on_last_weeks_rate() -> None:
    assert decide(claim(slice_(percent=90)), now=100.0 + 7 * 86400).reason is decision.Reason.NO_SIGNAL


def test_a_broken_objective_is_an_alarm() -> None:
    late = facts.Objective(name="p99-latency-ms", value=300.0, maximum=200.0)

    decided = decide(claim(slice_(percent=20), rate=100.0, objectives=(late,)))

    assert (decided.action, decided.reason) == (
        decision.Action.SCALE_UP,
        decision.Reason.OBJECTIVE_MISSED,
    )
    assert "p99-latency-ms 300 > 200" in decided.message
    assert decided.signals["p99-latency-ms"] == 300.0


def test_an_objective_that_nobody_measured_changes_nothing() -> None:
    unknown = facts.Objective(name="p99-latency-ms", value=None, maximum=200.0)

    with_it, without = decide(claim(slice_(), objectives=(unknown,))), decide(claim(slice_()))

    assert with_it == without


def test_a_full_pool_is_calm() -> None:
    late = facts.Objective(name="p99", value=400.0, maximum=200.0)
    full = claim(
        slice_(percent=30), rate=250.0, objectives=(late,), pool=facts.PoolFacts(free=0.0, placeable=0)
    )

    decided = decide(full)

    assert decided.inputs["alarm"] == 1.0
    assert decided.inputs["headroom"] == RULE.full.headroom


def test_what_a_claim_lacks_is_what_its_devices_refuse_and_not_its_own_limits() -> None:
    full = slice_(percent=10, room=0)
    limited = replace(slice_(percent=10), limits=amounts(8, 10))

    starved, content = decide(claim(full, rate=200.0)), decide(claim(limited, rate=200.0))

    assert starved.lacking_percent > 10
    assert content.lacking_percent == 0
    assert content.inputs["unservedRate"] > 0


def test_a_claim_spares_more_where_others_of_its_pool_lack_compute() -> None:
    known = state.State(grown_at={"a": 0.0}, expected=((90.0, 400.0),))
    present = claim(slice_(percent=60), rate=300.0)
    short = replace(present, pool=replace(present.pool, lacking=0.05))

    assert not decide(present, known).allocations
    assert decide(short, known).allocations["a"].compute_percent < 40


def test_replicas_that_could_not_help_are_not_asked_for() -> None:
    full = [slice_(str(i), percent=10, room=0) for i in range(6)]

    decided = decide(claim(*full, rate=200.0, can_sleep=True, max_replicas=20))

    assert decided.replicas == len(full)


def test_surplus_replicas_sleep_and_wake_before_new_ones_start() -> None:
    quiet = decide(claim(slice_("a"), slice_("b"), rate=100.0, can_sleep=True))
    busy = decide(claim(slice_("a"), slice_("b", percent=5, asleep=True), rate=400.0, can_sleep=True))

    assert len(quiet.sleep) == 1
    assert quiet.replicas == 2
    assert busy.wake == {"b"}
    assert busy.allocations["b"].compute_percent > 5


def test_memory_grows_after_a_refused_allocation() -> None:
    denied = replace(slice_(), memory_denied=True)

    decided = decide(claim(denied, rate=230.0))

    assert decided.reason is decision.Reason.MEMORY_DENIED
    assert decided.allocations["a"].memory_bytes == 5 * values.GIB  # a fifth more, in whole multiples


def test_quota_cuts_growth() -> None:
    bound = facts.PoolFacts(free=0.5, placeable=0, quota_percent=3)

    decided = decide(claim(slice_("a", percent=10), slice_("b", percent=10), rate=300.0, pool=bound))

    grown = sum(each.compute_percent - 10 for each in decided.allocations.values())
    assert grown == 3


@st.composite
def claims(draw: st.DrawFn) -> facts.ClaimFacts:
    def one(i: int) -> facts.SliceFacts:
        floor = draw(st.integers(1, 100))
        most = draw(st.integers(floor, 100))
        memory = draw(st.integers(1, 40))
        ceiling = draw(st.integers(memory, 80))
        peak = draw(st.none() | st.integers(0, 80))
        return facts.SliceFacts(
            id=f"s{i}",
            requests=amounts(memory, floor),
            allocated=amounts(draw(st.integers(memory, ceiling)), draw(st.integers(floor, most))),
            limits=amounts(ceiling, most),
            room=amounts(draw(st.integers(0, 80)), draw(st.integers(0, 100))),
            neighbours_percent=draw(st.integers(0, 99)),
            ready=draw(st.booleans()),
            asleep=draw(st.booleans()),
            memory_peak_bytes=None if peak is None else peak * values.GIB,
            memory_denied=draw(st.booleans()),
        )

    slices = tuple(one(i) for i in range(draw(st.integers(0, 5))))
    rates = draw(st.lists(st.floats(0, 5000), max_size=60))
    quota = draw(st.none() | st.integers(0, 200))
    return facts.ClaimFacts(
        slices=slices,
        curve=CURVE,
        pool=facts.PoolFacts(
            free=draw(st.floats(0, 1)), placeable=draw(st.integers(0, 9)), quota_percent=quota
        ),
        samples=tuple(facts.Sample(at=float(i), rate=rate) for i, rate in enumerate(rates)),
        queued=draw(st.none() | st.floats(0, 1e6)),
        batch=draw(st.floats(1, 64)),
        replicas=len(slices),
        min_replicas=1,
        max_replicas=draw(st.integers(1, 20)),
        can_sleep=draw(st.booleans()),
    )


@given(claims())
def test_allocations_stay_between_floor_and_ceiling_and_within_the_devices_room(of: facts.ClaimFacts) -> None:
    decided = decide(of, now=60.0)

    held = {each.id: each for each in of.slices}
    for id_, amount in decided.allocations.items():
        assert amount.covers(held[id_].requests)
        assert held[id_].limits.covers(amount)
        assert (held[id_].allocated + held[id_].room).covers(amount)


@given(claims())
def test_growth_stays_within_the_quota(of: facts.ClaimFacts) -> None:
    decided = decide(of, now=60.0)

    held = {each.id: each.allocated for each in of.slices}
    grown = sum(
        max(0, each.compute_percent - held[id_].compute_percent) for id_, each in decided.allocations.items()
    )
    assert of.pool.quota_percent is None or grown <= of.pool.quota_percent


@given(claims())
def test_replicas_stay_within_bounds_and_what_placement_takes(of: facts.ClaimFacts) -> None:
    decided = decide(of, now=60.0)

    present = of.replicas or 0
    assert decided.replicas is not None
    assert decided.replicas <= max(present, min(of.max_replicas, present + of.pool.placeable))
    assert not decided.sleep & decided.wake


@given(claims())
def test_a_decision_is_repeatable(of: facts.ClaimFacts) -> None:
    assert decision.decide(of, state.EMPTY, now=60.0) == decision.decide(of, state.EMPTY, now=60.0)
