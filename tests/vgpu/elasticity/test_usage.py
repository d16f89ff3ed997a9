from dataclasses import replace

from builders import amounts
from vgpu.elasticity import decision, facts, state, usage


def slice_(used: float | None, throttled: float | None = 0.0) -> facts.SliceFacts:
    return facts.SliceFacts(
        id="a",
        requests=amounts(4, 10),
        allocated=amounts(4, 40),
        limits=amounts(4, 100),
        room=amounts(0, 60),
        used_percent=used,
        throttled=throttled,
    )


def test_use_that_was_held_back_counts_for_what_it_would_have_been() -> None:
    found = usage.sample([slice_(30.0, 0.5), slice_(10.0)], at=7.0)

    assert found == facts.Sample(at=7.0, rate=70.0)


def test_unknown_use_is_no_sample() -> None:
    assert usage.sample([slice_(30.0), slice_(None)], at=7.0) is None


def test_sleepers_and_starting_replicas_do_not_count() -> None:
    asleep = replace(slice_(None), asleep=True)

    assert usage.sample([slice_(30.0), asleep, replace(asleep, asleep=False, ready=False)], at=7.0) == (
        facts.Sample(at=7.0, rate=30.0)
    )


def test_a_claim_without_a_rate_is_sized_for_its_target_utilisation() -> None:
    one = slice_(40.0)
    claim = facts.ClaimFacts(
        slices=(one,),
        curve=usage.curve(ceiling_percent=100, target_percent=70),
        pool=facts.PoolFacts(free=1.0, placeable=0),
        samples=tuple(facts.Sample(at=float(i), rate=40.0) for i in range(61)),
    )

    decided, _ = decision.decide(claim, state.EMPTY, now=60.0)

    assert decided.action is decision.Action.GROW
    assert decided.allocations["a"].compute_percent >= 40 / 0.7
