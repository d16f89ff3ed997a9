"""A quarter of an hour of steady load: nothing is written but by chance, and nobody waits."""

from pathlib import Path

import pytest

import small_model
from elasticity import arrivals, steady


def test_a_steady_load_leaves_slices_alone(tmp_path: Path) -> None:
    profiles = [small_model.profile(tmp_path, name) for name in "ab"]

    went = steady.play(profiles, seconds=900, seed=1, gpus=1.0)

    assert went.flips == 0
    assert went.changes <= 4
    assert went.violations <= 0.1
    assert went.allocated < steady.CARDS


def test_a_level_load_needs_what_it_says(tmp_path: Path) -> None:
    (made,) = arrivals.level([small_model.profile(tmp_path)], gpus=0.4, seconds=60, seed=1)

    curve = made.profile.curve
    assert made.rates[0] == pytest.approx(0.4 * 100 / curve.efficient_percent * curve.efficient_rate)
    assert set(made.rates) == {made.rates[0]}
