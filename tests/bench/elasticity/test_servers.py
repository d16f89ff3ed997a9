"""Servers take waiting requests in batches, keep accounts of their slice, and count who was late."""

from pathlib import Path

import pytest

import small_model
from elasticity import profiles, servers


@pytest.fixture
def profile(tmp_path: Path) -> profiles.Profile:
    return small_model.profile(tmp_path)


def service(
    of: profiles.Profile, times: list[float], *, share: int = 100
) -> tuple[servers.Service, servers.Server]:
    made = servers.Service("model", small_model.demand(of, times, seconds=10))
    server = servers.Server("model-1", card=0, share=share, memory_bytes=0, ready_at=0.0)
    made.add(server)
    return made, server


def run(made: servers.Service, *, steps: int, first: int = 0) -> None:
    for step in range(first, first + steps):
        made.advance(step * servers.STEP, (step + 1) * servers.STEP)


def test_a_request_takes_the_latency_of_its_batch(profile: profiles.Profile) -> None:
    made, server = service(profile, [0.01])

    run(made, steps=1)

    assert (made.served, made.late) == (1, 0)
    assert server.free_at == pytest.approx(0.01 + small_model.latency(1, 100))


def test_requests_that_wait_together_are_one_batch(profile: profiles.Profile) -> None:
    made, server = service(profile, [0.01, 0.011, 0.012, 0.013, 0.014])

    run(made, steps=1)

    assert made.served == 5
    assert server.free_at == pytest.approx(0.01 + small_model.latency(1, 100) + small_model.latency(4, 100))


def test_use_is_the_share_or_what_a_batch_can_use_and_the_rest_is_throttling(
    profile: profiles.Profile,
) -> None:
    small, large = service(profile, [0.0], share=20), service(profile, [0.0], share=100)

    for made, _ in (small, large):
        run(made, steps=1)

    busy = small_model.latency(1, 20)
    assert small[1].used == pytest.approx(20 * busy)
    assert small[1].throttled == pytest.approx(busy * (1 - 20 / profile.saturation[1]))
    assert large[1].used == pytest.approx(profile.saturation[1] * small_model.latency(1, 100))
    assert large[1].throttled == 0


def test_a_sleeper_and_one_that_still_starts_serve_nothing(profile: profiles.Profile) -> None:
    asleep, starting = service(profile, [0.01]), service(profile, [0.01])
    asleep[1].asleep = True
    starting[1].ready_at = starting[1].free_at = 0.5

    for made, _ in (asleep, starting):
        run(made, steps=3)
    run(starting[0], steps=4, first=3)

    assert asleep[0].queued(0.3) == 1
    assert starting[0].served == 1
    assert starting[1].free_at == pytest.approx(0.5 + small_model.latency(1, 100))


def test_who_takes_longer_than_the_objective_is_late_and_who_still_waits_too(
    profile: profiles.Profile,
) -> None:
    made, server = service(profile, [0.0, 0.0, 0.0])
    server.ready_at = server.free_at = 100.0

    run(made, steps=20)
    made.close(2.0)

    assert made.late == made.served == 3


def test_a_batch_goes_on_at_the_speed_of_a_new_share(profile: profiles.Profile) -> None:
    made, server = service(profile, [0.0], share=10)
    run(made, steps=1)
    whole = small_model.latency(1, 10)
    assert whole > servers.STEP / 3

    slow, _ = service(profile, [0.09], share=10)
    run(slow, steps=1)
    slow.reshare(slow.servers[0], 100, 0.1)

    left = (0.09 + whole - 0.1) * small_model.latency(1, 100) / whole
    assert slow.servers[0].free_at == pytest.approx(0.1 + left)
    assert server.force == 10


def test_a_quantile_is_the_upper_end_of_its_bucket() -> None:
    histogram = [0] * servers.BUCKETS
    histogram[3], histogram[10] = 99, 1

    assert servers.quantile(histogram, 0.99) == 0.5
    assert servers.quantile(histogram, 1.0) == 11 / 8
