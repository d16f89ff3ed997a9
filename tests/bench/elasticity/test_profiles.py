"""Profiles become latency tables and curves; what is no profile is refused in words."""

from pathlib import Path

import pytest

import small_model
from elasticity import profiles


def test_latency_is_as_measured_and_in_between_linear(tmp_path: Path) -> None:
    profile = small_model.profile(tmp_path)

    assert profile.latency[50][4] == pytest.approx(small_model.latency(4, 50))
    assert profile.latency[50][3] == pytest.approx(small_model.latency(3, 50))
    assert profile.latency[5][1] == pytest.approx(2 * small_model.latency(1, 10))
    assert profile.objective == pytest.approx(profiles.OBJECTIVE * small_model.latency(1, 100))


def test_a_batch_uses_no_more_than_makes_it_faster(tmp_path: Path) -> None:
    profile = small_model.profile(tmp_path)

    assert profile.saturation[1] <= small_model.ENOUGH_PERCENT
    assert profile.curve.efficient_percent <= small_model.ENOUGH_PERCENT


def test_the_largest_batch_can_be_waited_for_and_computed_within_the_objective(tmp_path: Path) -> None:
    profile = small_model.profile(tmp_path)

    for share in range(20, 101):
        assert 2 * profile.latency[share][profile.most[share]] <= profile.objective


@pytest.mark.parametrize("text", ["", "1,2\n", "a,b,c,d\n", "1,10,0.1,0\n", "1,10,0.1,5\n"])
def test_what_is_no_profile_is_refused_in_words(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bs_sm_x.csv"
    path.write_text(text)

    with pytest.raises(profiles.BadProfileError, match="expected"):
        profiles.read(path)
