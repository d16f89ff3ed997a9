"""Services without work: down to their floor, then to no replicas, and back when work waits."""

from dataclasses import replace

from builders import amounts
from vgpu.elasticity import decision, explain, facts, state, work

SLICE = facts.SliceFacts(
    id="a",
    requests=amounts(4, 10),
    allocated=amounts(4, 10),
    limits=amounts(4, 100),
    room=amounts(0, 90),
)
CLAIM = facts.ClaimFacts(
    slices=(SLICE,),
    curve=work.linear(1.0, largest_percent=100),
    pool=facts.PoolFacts(free=0.5, placeable=4),
    replicas=1,
    min_replicas=0,
    max_replicas=4,
    idle_seconds=60.0,
)


def quiet(claim: facts.ClaimFacts, *, until: float) -> facts.ClaimFacts:
    samples = tuple(facts.Sample(at=until - 20 + i, rate=0.0) for i in range(21))
    return replace(claim, samples=samples)


def test_a_service_goes_to_no_replicas_only_after_its_idle_time() -> None:
    busy = replace(CLAIM, samples=(facts.Sample(at=100.0, rate=5.0),))
    _, after = decision.decide(busy, state.EMPTY, now=100.0)

    early, after = decision.decide(quiet(CLAIM, until=150.0), after, now=150.0)
    late, _ = decision.decide(quiet(CLAIM, until=161.0), after, now=161.0)

    assert early.replicas == 1
    assert (late.action, late.reason, late.replicas) == (
        decision.Action.SCALE_DOWN,
        decision.Reason.IDLE,
        0,
    )


def test_the_first_look_counts_as_busy() -> None:
    decided, _ = decision.decide(quiet(CLAIM, until=1000.0), state.EMPTY, now=1000.0)

    assert decided.replicas == 1


def test_a_service_that_must_keep_a_replica_goes_to_that_when_idle() -> None:
    large = replace(CLAIM, replicas=3, min_replicas=1)
    before = replace(state.EMPTY, busy_at=0.0, needed=((990.0, 300.0),))

    decided, _ = decision.decide(quiet(large, until=1000.0), before, now=1000.0)

    assert decided.replicas == 1


def test_waiting_work_starts_the_first_replica_though_no_rate_is_known() -> None:
    gone = replace(CLAIM, slices=(), replicas=0, waiting=3.0)

    decided, after = decision.decide(gone, state.EMPTY, now=500.0)

    assert (decided.action, decided.reason, decided.replicas) == (
        decision.Action.SCALE_UP,
        decision.Reason.WORK_WAITS,
        1,
    )
    assert after.busy_at == 500.0
    assert explain.sentence(gone, decided) == "3 waiting: replicas 0 to 1"


def test_nothing_wakes_without_waiting_work_or_where_no_replica_could_be_placed() -> None:
    gone = replace(CLAIM, slices=(), replicas=0, waiting=0.0)
    full = replace(gone, waiting=1.0, pool=facts.PoolFacts(free=0.0, placeable=0))

    assert decision.decide(gone, state.EMPTY, now=0.0)[0].action is decision.Action.HOLD
    held = decision.decide(full, state.EMPTY, now=0.0)[0]
    assert (held.action, held.limited) == (decision.Action.HOLD, True)
    assert held.clamps == ("placement and quota take 0 more",)


def test_a_replica_that_was_asked_for_and_has_no_slice_yet_is_not_asked_for_again() -> None:
    samples = tuple(facts.Sample(at=float(i), rate=110.0) for i in range(61))
    asked = replace(CLAIM, replicas=2, samples=samples, min_replicas=1)

    decided, _ = decision.decide(asked, state.EMPTY, now=60.0)

    assert decided.replicas == 2


def test_a_decision_is_told_in_a_sentence() -> None:
    samples = tuple(facts.Sample(at=float(i), rate=40.0) for i in range(61))
    grown = replace(CLAIM, samples=samples)

    decided, _ = decision.decide(grown, state.EMPTY, now=60.0)

    assert explain.sentence(grown, decided) == "40 a second, sized for 44: compute 10 to 44 %, memory kept"
