"""The comparison of bed and simulator: what it takes as a load, what it reads off, and its simulated side."""

import dataclasses
from pathlib import Path

import pytest

from elasticity import live_case, live_model

CASE = live_case.Case(rates=(4.0,) * 20 + (40.0,) * 20, seed=1)
ON_BED = live_case.Figures(
    requests=0,
    late_percent=0.0,
    allocated=0.0,
    first_growth=None,
    first_replica=None,
    most_replicas=1,
    cold_start=2.0,
    request_ms=20.0,
)


def moment(at: float, *, allocated: int, replicas: int = 1) -> live_case.Moment:
    return live_case.Moment(at=at, allocated=allocated, replicas=replicas)


@pytest.mark.parametrize(
    ("text", "told"),
    [("1\nmany\n", "expected a rate per line"), ("5\n" * 30, "no step"), ("", "no step")],
)
def test_a_load_without_a_step_or_with_words_is_refused(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "rates"
    path.write_text(text)

    with pytest.raises(live_case.BadRatesError, match=told):
        live_case.read(path, seed=0)


def test_the_load_that_comes_with_it_steps_up_once() -> None:
    case = live_case.read(live_case.RATES, seed=0)

    assert case.rates[case.step_at] >= 3 * case.rates[case.step_at - 1]


def test_reactions_count_from_the_step_and_not_from_what_was_before() -> None:
    seen = [
        moment(0.0, allocated=15),
        moment(10.0, allocated=20),
        moment(22.5, allocated=40),
        moment(26.0, allocated=55, replicas=2),
    ]

    assert live_case.first_growth(seen, CASE) == 2.5
    assert live_case.first_replica(seen, CASE) == 6.0
    assert live_case.first_replica(seen[:3], CASE) is None


def test_the_simulated_side_stays_within_the_claim_and_answers_the_step(tmp_path: Path) -> None:
    found = live_model.play(CASE, beside=ON_BED, folder=tmp_path)

    assert found.requests == len(CASE.times())
    assert found.first_growth is not None
    assert found.first_growth <= 5
    assert found.first_replica is not None
    assert 1 < found.most_replicas <= CASE.max_replicas
    assert 0.15 < found.allocated <= 0.6 * CASE.max_replicas


def test_one_replica_is_all_where_the_claim_allows_no_more(tmp_path: Path) -> None:
    alone = dataclasses.replace(CASE, max_replicas=1)

    found = live_model.play(alone, beside=ON_BED, folder=tmp_path)

    assert (found.most_replicas, found.first_replica) == (1, None)
