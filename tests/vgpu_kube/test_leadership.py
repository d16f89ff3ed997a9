import asyncio
import random
from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vgpu_kube import errors
from vgpu_kube.leadership import WANTED_BY, Leadership
from vgpu_kube.resources import LEASES
from vgpu_kube.testing import Clock, Cluster, Moment, Request, settle

DOWN = errors.Unavailable(0, "TimeoutError", "no answer in time")


@pytest.fixture
def clock() -> Clock:
    return Clock()


def candidate(cluster: Cluster, clock: Clock, identity: str, *, skew: float = 0.0) -> Leadership:
    """A candidate whose clocks are off by ``skew`` seconds, the monotonic one by an offset of its own."""
    return Leadership(
        kube=cluster,
        name="extender",
        namespace="vgpu-system",
        identity=identity,
        duration=15,
        clock=lambda: clock.monotonic() + skew * 7,
        now=lambda: clock.now() + timedelta(seconds=skew),
        sleep=clock.sleep,
        rng=random.Random(1),
    )


async def lease(cluster: Cluster) -> dict[str, object]:
    raw = await cluster.get(LEASES, "extender", "vgpu-system")
    return {**raw["spec"], "annotations": raw["metadata"].get("annotations", {})}


async def test_the_first_candidate_leads_and_the_second_does_not(cluster: Cluster, clock: Clock) -> None:
    async with candidate(cluster, clock, "a") as first:
        await settle()
        async with candidate(cluster, clock, "b") as second:
            await clock.advance(60)

            assert first.valid()
            assert not second.valid()
            assert second.holder == "a"


async def test_a_holder_that_stops_cleanly_is_followed_at_the_next_attempt(
    cluster: Cluster, clock: Clock
) -> None:
    first = candidate(cluster, clock, "a")
    async with candidate(cluster, clock, "b") as second:
        async with first:
            await clock.advance(5)
            leader = second if second.valid() else first
        other = first if leader is second else second
        assert not (other.valid() and leader.valid())
        await clock.advance(3.1)

        assert second.valid()
        assert not first.valid()


async def test_a_dead_holder_is_followed_after_the_duration_and_not_before(
    cluster: Cluster, clock: Clock
) -> None:
    dead = candidate(cluster, clock, "a")
    await dead.attempt()
    async with candidate(cluster, clock, "b") as second:
        await clock.advance(14.9)
        assert not second.valid()
        await clock.advance(3.2)

        assert second.valid()
        assert not dead.valid()


async def test_a_holder_without_answers_stops_relying_on_the_lease_before_others_may_take_it(
    cluster: Cluster, clock: Clock
) -> None:
    told: list[str] = []
    holder = candidate(cluster, clock, "a")
    holder.on_lost = lambda: told.append("lost")
    async with holder:
        await clock.advance(1)
        assert holder.valid()
        cluster.fail_next(DOWN, times=1000)
        await clock.advance(8.9)
        assert holder.valid(), "the last renewal was sent less than 10 s ago"
        await clock.advance(3)

        assert not holder.valid()
        assert told == ["lost"]


async def test_a_lease_is_valid_from_before_its_renewal_was_sent(cluster: Cluster, clock: Clock) -> None:
    async def slow(request: Request, moment: Moment) -> None:
        clock._time += 2 if request.writes else 0

    cluster.on_request = slow
    holder = candidate(cluster, clock, "a")
    sent = clock.monotonic()
    await holder.attempt()

    assert holder.valid(sent + 9.9)
    assert not holder.valid(sent + 10)


async def test_a_take_over_whose_answer_was_lost_is_recognised_as_ours(
    cluster: Cluster, clock: Clock
) -> None:
    holder = candidate(cluster, clock, "a")
    cluster.fail_next(DOWN, verb="create", moment=Moment.AFTER)
    await holder.attempt()
    assert not holder.valid()
    await clock.advance(1)
    await holder.attempt()

    assert holder.valid()


async def test_a_namesake_is_somebody_else(cluster: Cluster, clock: Clock) -> None:
    await candidate(cluster, clock, "a").attempt()
    await clock.advance(1)
    namesake = candidate(cluster, clock, "a")
    await namesake.attempt()

    assert not namesake.valid()


async def test_a_wall_clock_that_is_wrong_by_hours_does_not_matter(cluster: Cluster, clock: Clock) -> None:
    async with candidate(cluster, clock, "a") as first, candidate(cluster, clock, "b", skew=7200.0) as second:
        for _ in range(40):
            await clock.advance(2)
            assert not (first.valid() and second.valid())
        assert first.valid() or second.valid()


async def test_a_holder_learns_who_wants_the_lease_and_hands_it_over(cluster: Cluster, clock: Clock) -> None:
    wanted: list[str] = []
    holder = candidate(cluster, clock, "a")
    holder.on_wanted = wanted.append
    async with holder:
        await clock.advance(1)
        async with candidate(cluster, clock, "other"), candidate(cluster, clock, "b") as successor:
            await clock.advance(4)
            await successor.request_handover()
            await clock.advance(4)
            assert (wanted, holder.wanted_by) == (["b"], "b")
            assert holder.valid(), "being asked is not yet giving up"
            await holder.release()
            assert not holder.valid()
            await clock.advance(4)

            assert successor.valid()
            assert not holder.valid()
            assert WANTED_BY not in str(await lease(cluster))


async def test_a_lease_handed_over_to_nobody_is_taken_by_others_after_the_duration(
    cluster: Cluster, clock: Clock
) -> None:
    async with candidate(cluster, clock, "a") as holder:
        await clock.advance(1)
        await candidate(cluster, clock, "vanished").request_handover()
        await clock.advance(4)
        await holder.release()
        await clock.advance(10)
        assert not holder.valid()
        await clock.advance(10)

        assert holder.valid()


async def test_a_release_is_written_though_somebody_asked_meanwhile(cluster: Cluster, clock: Clock) -> None:
    holder = candidate(cluster, clock, "a")
    await holder.attempt()
    await candidate(cluster, clock, "b").request_handover()
    await holder.release()

    assert (await lease(cluster))["holderIdentity"] == ""


async def test_a_release_by_who_does_not_hold_it_writes_nothing(cluster: Cluster, clock: Clock) -> None:
    await candidate(cluster, clock, "a").attempt()
    other = candidate(cluster, clock, "b")
    await other.attempt()
    await other.release()

    assert (await lease(cluster))["holderIdentity"] == "a"


async def test_a_lease_that_was_deleted_is_made_again(cluster: Cluster, clock: Clock) -> None:
    async with candidate(cluster, clock, "a") as holder:
        await clock.advance(1)
        cluster.remove(LEASES, "extender", "vgpu-system")
        await clock.advance(4)

        assert holder.valid()


async def test_the_lease_tells_people_who_holds_it_and_since_when(cluster: Cluster, clock: Clock) -> None:
    await candidate(cluster, clock, "a").attempt()

    found = await lease(cluster)

    assert found["holderIdentity"] == "a"
    assert found["leaseDurationSeconds"] == 15
    assert datetime.fromisoformat(str(found["acquireTime"])) == datetime(2026, 1, 1, tzinfo=UTC)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), skew=st.floats(-3600, 3600, allow_nan=False))
async def test_never_two_at_once_whatever_fails(seed: int, skew: float) -> None:
    rng, clock, cluster = random.Random(seed), Clock(), Cluster()

    def stumble(request: Request, moment: Moment) -> Awaitable[None] | None:
        if rng.random() < 0.15:
            raise DOWN
        return clock.sleep(rng.uniform(0, 8)) if rng.random() < 0.1 else None

    cluster.on_request = stumble
    releases: list[asyncio.Task[None]] = []
    crew = [candidate(cluster, clock, name, skew=skew * index) for index, name in enumerate("abc")]
    async with crew[0], crew[1], crew[2]:
        for _ in range(60):
            await clock.advance(rng.uniform(0.5, 3))
            assert sum(one.valid() for one in crew) <= 1
            if rng.random() < 0.1:
                releases.append(asyncio.create_task(rng.choice(crew).release()))
        cluster.on_request = None
        await clock.advance(40)

        assert all(task.done() and task.exception() is None for task in releases)
        assert sum(one.valid() for one in crew) == 1
