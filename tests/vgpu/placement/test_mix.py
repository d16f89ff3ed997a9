"""Which sizes a cluster expects to be asked for."""

import pytest

import builders as make
from vgpu.placement import mix

DAY = 86_400.0


def size(gib: int, percent: int = 10) -> mix.Shape:
    return mix.Shape(requests=make.amounts(gib, percent))


def test_the_typical_shapes_are_the_most_frequent_that_cover_the_part_wanted() -> None:
    found = mix.typical({size(1): 60, size(2): 36, size(3): 4}, covered=0.95)

    assert found.popularity == {size(1): 60 / 96, size(2): 36 / 96}


def test_equal_counts_are_ranked_by_size_and_not_by_arrival() -> None:
    one = mix.typical({size(1): 1, size(2): 1}, covered=0.5)
    other = mix.typical({size(2): 1, size(1): 1}, covered=0.5)

    assert one == other == mix.Mix(popularity={size(1): 1.0})


def test_nothing_asked_is_an_empty_mix() -> None:
    assert mix.typical({}) == mix.Mix(popularity={})


def test_a_new_cluster_expects_the_usual() -> None:
    assert mix.Memory().mix(now=0) is mix.PRIOR


def test_what_is_asked_for_often_outgrows_the_guess() -> None:
    memory = mix.Memory()
    for _ in range(400):
        memory.see(size(12, 15), now=0)

    assert memory.mix(now=0).popularity[size(12, 15)] == pytest.approx(400 / 420, abs=0.02)


def test_what_was_asked_for_long_ago_fades_and_the_guess_returns() -> None:
    memory = mix.Memory(half_life_seconds=DAY)
    for _ in range(400):
        memory.see(size(12, 15), now=0)

    memory.see(size(3, 15), now=30 * DAY)

    assert size(12, 15) not in memory.mix(now=30 * DAY).popularity


def test_a_mix_stays_the_same_object_until_it_is_far_from_the_truth() -> None:
    memory = mix.Memory(tolerance=0.2)
    for _ in range(100):
        memory.see(size(12, 15), now=0)
    before = memory.mix(now=0)
    memory.see(size(3, 15), now=1)

    assert memory.mix(now=1) is before


def test_only_so_many_shapes_are_kept() -> None:
    memory = mix.Memory(most_shapes=4)
    for gib in range(1, 40):
        memory.see(size(gib, 15), now=0)

    assert len(memory.mix(now=0).popularity) <= 4
