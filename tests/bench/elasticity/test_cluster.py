"""Cards never give more than they have, and idle compute is lent on top of what a slice holds."""

from pathlib import Path

import pytest

import small_model
from elasticity import cluster, policy, profiles, servers


@pytest.fixture
def profile(tmp_path: Path) -> profiles.Profile:
    return small_model.profile(tmp_path)


def service(of: profiles.Profile, times: list[float] | None = None) -> servers.Service:
    return servers.Service("model", small_model.demand(of, times or [9.0], seconds=10))


def pool(cards: int = 1, *, lends: bool = False) -> cluster.Cluster:
    return cluster.Cluster(cards, lends=lends, ceiling=100.0)


def test_a_replica_goes_to_the_fullest_card_that_takes_it(profile: profiles.Profile) -> None:
    made, held = service(profile), pool(2)
    for share in (50, 60, 40):
        held.start(made, policy.New(share=share), ready_at=0.0)

    assert [each.card for each in made.servers] == [0, 1, 1]
    assert (held.free(0), held.free(1)) == (50, 0)


def test_a_replica_without_a_place_is_counted_and_not_started(profile: profiles.Profile) -> None:
    made, held = service(profile), pool()
    held.start(made, policy.New(share=70), ready_at=0.0)

    assert held.start(made, policy.New(share=40), ready_at=0.0) is None
    assert (held.unplaced, len(made.servers)) == (1, 1)


def test_memory_bounds_a_card_too(profile: profiles.Profile) -> None:
    made, held = service(profile), pool()
    fitting = cluster.MEMORY_BYTES // profile.memory_bytes

    started = [held.start(made, policy.New(share=1), ready_at=0.0) for _ in range(fitting + 1)]

    assert started[-1] is None
    assert held.free_memory(0) >= 0


def test_growth_ends_where_the_card_does(profile: profiles.Profile) -> None:
    made, held = service(profile), pool()
    first = held.start(made, policy.New(share=70), ready_at=0.0)
    held.start(made, policy.New(share=20), ready_at=0.0)
    assert first is not None

    held.resize(first, 95, now=1.0)

    assert (first.share, held.free(0)) == (80, 0)


def test_growth_within_a_minute_of_a_shrink_is_a_flip(profile: profiles.Profile) -> None:
    made, held = service(profile), pool()
    server = held.start(made, policy.New(share=50), ready_at=0.0)
    assert server is not None

    held.resize(server, 30, now=0.0)
    held.resize(server, 40, now=59.0)
    held.resize(server, 50, now=100.0)

    assert (held.changes, held.flips) == (3, 1)


def test_a_throttled_slice_borrows_what_its_neighbour_does_not_use(profile: profiles.Profile) -> None:
    busy, idle, held = service(profile, [0.001 * i for i in range(900)]), service(profile), pool(lends=True)
    own = held.start(busy, policy.New(share=20), ready_at=0.0)
    held.start(idle, policy.New(share=60), ready_at=0.0)
    assert own is not None

    for step in range(9):
        held.lend(step * servers.STEP)
        for each in (busy, idle):
            each.advance(step * servers.STEP, (step + 1) * servers.STEP)

    assert own.share == 20
    assert 20 < own.force <= cluster.WHOLE
    assert sum(server.used for _, server in held.cards[0]) <= cluster.WHOLE * servers.STEP
