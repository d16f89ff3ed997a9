"""Whole runs: the same from the same seed, honest costs, and calm on a steady load."""

from pathlib import Path

import pytest

import small_model
from elasticity import arrivals, contest, outcome, plots, simulation, table, timeline
from elasticity.policies import fixed, ours

SETTING = simulation.Setting(cards=2, warm_up=10)


@pytest.fixture
def demands(tmp_path: Path) -> list[arrivals.Demand]:
    rates = [1.0] * 40 + [2.0] * 40
    return arrivals.demands(
        [0.4 * rate for rate in rates], [small_model.profile(tmp_path, n) for n in "ab"], seed=1
    )


def small(demands: list[arrivals.Demand]) -> list[arrivals.Demand]:
    """The same services at a third of the level: two cards suffice."""
    return [
        arrivals.Demand(
            profile=each.profile, rates=tuple(rate / 3 for rate in each.rates), times=each.times[::3]
        )
        for each in demands
    ]


def test_a_run_is_repeatable(demands: list[arrivals.Demand]) -> None:
    one, same = (simulation.run(small(demands), ours.Ours(), SETTING) for _ in range(2))

    assert one == same


def test_what_never_changes_costs_what_it_holds(demands: list[arrivals.Demand]) -> None:
    went = simulation.run(small(demands), fixed.Fixed(part=0.999), SETTING)

    assert went.changes == went.flips == went.starts == 0
    assert went.allocated == went.charged
    assert went.used <= went.charged <= went.occupied <= SETTING.cards


def test_no_request_is_lost(demands: list[arrivals.Demand]) -> None:
    asked = small(demands)
    setting = simulation.Setting(cards=2, warm_up=0)

    went = simulation.run(asked, fixed.Fixed(part=0.1), setting)

    assert went.requests == sum(len(each.times) for each in asked)


def test_a_timeline_has_every_second(demands: list[arrivals.Demand]) -> None:
    seen = timeline.Timeline()

    went = simulation.run(small(demands), ours.Ours(), SETTING, seen=seen)

    assert len(seen.needed) == len(seen.allocated) == len(seen.serving) == len(seen.p99) == 80
    assert sum(seen.allocated[10:]) / 70 == pytest.approx(went.allocated)
    assert max(seen.allocated) <= SETTING.cards
    assert seen.needed == pytest.approx([seen.needed[0]] * 80)  # one service's night is the other's day


def test_a_picture_has_a_line_per_policy_and_a_gap_where_nothing_ended() -> None:
    one, other = timeline.Timeline(), timeline.Timeline()
    for run, p99 in ((one, [1.0, None, 2.0]), (other, [None, None, None])):
        run.needed, run.allocated, run.serving, run.p99 = [1.0] * 3, [2.0] * 3, [1, 2, 3], list(p99)

    page = plots.page("a < b", {"ours": one, "hpa": other})

    assert page.count("<path") == 1 + 3 * 2
    assert "a &lt; b" in page
    assert page.count("M") == 1 + 2 + 0 + 2 + 2


def test_tables_name_the_worst_seed_and_who_is_worse_on_equal_cards(demands: list[arrivals.Demand]) -> None:
    fine = simulation.run(small(demands), ours.Ours(), SETTING)
    results = [
        _result(policy, value, seed, violations, fine)
        for policy, value, seed, violations in [
            (contest.OURS, contest.POLICIES[contest.OURS].values[0], 1, 0.5),
            (contest.OURS, contest.POLICIES[contest.OURS].values[0], 2, 1.0),
            ("hpa", 0.7, 1, 1.5),
            ("hpa", 0.7, 2, 0.0),
        ]
    ]

    means, hardware = table.means(results), table.at_equal_hardware(results)

    assert any("0.75" in line and "1.00" in line for line in means)
    assert hardware[-1].strip() == "half or tie on 1 of 2 runs, more than 0.2 points worse on 1"
    assert table.cheapest_within(results)[-1].strip().startswith("hpa") is True


def _result(policy: str, value: float, seed: int, violations: float, like: outcome.Outcome) -> contest.Result:
    fields = {name: getattr(like, name) for name in like.__slots__}
    went = outcome.Outcome(**{**fields, "violations": violations})
    return contest.Result(
        trace="t",
        policy=policy,
        value=value,
        cards=2,
        seed=seed,
        seconds=80,
        outcome=went,
        took_seconds=1.0,
    )
