from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vgpu import values
from vgpu.elasticity import work
from vgpu_cli.simulation import outcome, world

FLOOR = values.Amounts(memory_bytes=values.GIB, compute_percent=20)
CEILING = values.Amounts(memory_bytes=values.GIB, compute_percent=100)
FIXED = world.Service(curve=work.linear(2.0, largest_percent=100), requests=FLOOR, limits=CEILING)
SCALED = replace(FIXED, scales=True, max_replicas=5)


def _played(service: world.Service, load: list[float]) -> tuple[world.World, list[world.Moment]]:
    played = world.World(service=service)
    return played, list(played.play(load))


def test_a_load_within_the_floor_never_waits() -> None:
    _, moments = _played(FIXED, [5.0] * 60)

    assert all(each.queued == 0 for each in moments)


def test_a_step_grows_the_slice_at_the_next_decision_and_the_queue_drains() -> None:
    played, moments = _played(FIXED, [5.0] * 60 + [30.0] * 120)

    assert played.made[-1].percent > 60
    assert max(each.queued for each in moments) > 0
    assert moments[-1].queued == 0
    grown = next(each.second for each in moments if each.second >= 60 and each.percent > 60)
    assert grown <= 60 + 2 * FIXED.interval


def test_a_claim_that_scales_gets_replicas_that_serve_only_after_their_start() -> None:
    _, moments = _played(SCALED, [5.0] * 60 + [120.0] * 240)

    asked = next(each.second for each in moments if each.replicas > 1)
    ready = next(each.second for each in moments if each.ready > 1)
    assert ready == asked + SCALED.start_seconds
    assert moments[-1].replicas >= 3


def test_without_room_on_its_device_a_slice_stays_at_its_floor() -> None:
    _, moments = _played(replace(FIXED, room_percent=0), [30.0] * 60)

    assert {each.percent for each in moments} == {20}


def test_an_idle_service_goes_to_no_replicas_and_wakes_for_what_waits() -> None:
    idle = replace(SCALED, min_replicas=0, idle_seconds=60.0)
    _, moments = _played(idle, [5.0] * 60 + [0.0] * 1200 + [5.0] * 120)

    assert min(each.replicas for each in moments) == 0
    woken = next(each.second for each in moments if each.second > 1260 and each.replicas)
    assert woken <= 1260 + idle.interval
    assert moments[-1].queued == 0


def test_wait_is_the_age_of_the_oldest_work() -> None:
    _, moments = _played(replace(FIXED, room_percent=0), [20.0] + [0.0] * 3)

    assert [(each.queued, each.wait) for each in moments] == [(10.0, 0), (0.0, 0), (0.0, 0), (0.0, 0)]


@settings(max_examples=30, deadline=None)
@given(load=st.lists(st.floats(0, 500), min_size=1, max_size=120), scales=st.booleans())
def test_work_is_served_or_waits_and_slices_keep_their_bounds(load: list[float], *, scales: bool) -> None:
    _, moments = _played(SCALED if scales else FIXED, load)

    for before, now in zip([None, *moments], moments, strict=False):
        waited = before.queued if before else 0.0
        served = waited + now.rate - now.queued
        assert -1e-6 <= served <= now.capacity + 1e-6
        assert 20 * now.replicas <= now.percent <= 100 * now.replicas
        assert 1 <= now.replicas <= 5


def test_the_outcome_counts_late_seconds_and_compares_with_fixed_slices() -> None:
    played, moments = _played(FIXED, [5.0] * 60 + [30.0] * 60)

    _, still = _played(replace(FIXED, interval=1000), [5.0] * 60 + [30.0] * 60)
    result = outcome.of(moments, still, FIXED, decisions=len(played.made), max_wait=0.0)

    assert result.late_seconds == sum(each.wait > 0 for each in moments) > 0
    assert result.longest_wait == max(each.wait for each in moments)
    assert result.fixed_replicas == 1
    assert result.fixed_gpu_hours == pytest.approx(120 / 3600)
    assert 0 < result.gpu_hours < result.fixed_gpu_hours
    assert result.floor_late_seconds == 59  # what does not fit into its second waits from the next one on
