"""How generous a claim's sizes are in pools that are roomy, full, and too short."""

from dataclasses import astuple, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vgpu.elasticity import demand, facts, pace, settings

RULE = settings.DEFAULT


def paced(free: float, lacking: float = 0.0) -> pace.Pace:
    return demand.paced(facts.PoolFacts(free=free, placeable=0, lacking=lacking), RULE)


def test_a_pool_goes_from_roomy_to_full_as_its_free_part_falls() -> None:
    assert paced(0.9) == paced(RULE.free_part) == RULE.roomy
    assert paced(0.0) == RULE.full
    assert RULE.full.window_seconds < paced(RULE.free_part / 2).window_seconds < RULE.roomy.window_seconds


@pytest.mark.parametrize("free", [0.0, 0.1, 0.5])
def test_where_others_lack_compute_the_pool_is_short_however_much_is_free_elsewhere(free: float) -> None:
    assert astuple(paced(free, RULE.lacking_part)) == pytest.approx(astuple(RULE.short))


def test_a_lack_that_is_little_beside_the_pool_changes_little() -> None:
    assert paced(0.5, RULE.lacking_part / 100).headroom == pytest.approx(RULE.roomy.headroom, rel=0.01)


@given(st.floats(0, 1))
def test_every_value_between_two_paces_lies_between_theirs(part: float) -> None:
    mixed = astuple(pace.between(pace.SHORT, pace.ROOMY, part))

    for one, low, high in zip(mixed, astuple(pace.SHORT), astuple(pace.ROOMY), strict=True):
        assert min(low, high) - 1e-9 <= one <= max(low, high) + 1e-9


def test_an_even_walk_of_risk_is_one_of_its_exponent() -> None:
    one, other = replace(pace.ROOMY, risk=1e-4), replace(pace.ROOMY, risk=1e-2)

    assert pace.between(one, other, 0.5).risk == pytest.approx(1e-3)
