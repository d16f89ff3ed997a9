"""When the reconciliation of a key runs, and how often."""

import asyncio
import logging
import random

import pytest

from vgpu_kube import errors
from vgpu_kube.testing import Clock, settle
from vgpu_operator.workqueue import PARALLEL, REST_SECONDS, Workqueue


class Runs:
    """Notes when each key ran, by the clock; ``fail`` are errors of the next runs."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.times: list[tuple[str, float]] = []
        self.fail: list[Exception] = []

    async def __call__(self, key: str) -> None:
        self.times.append((key, round(self.clock.monotonic() - 1000.0, 3)))
        if self.fail:
            raise self.fail.pop(0)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def runs(clock: Clock) -> Runs:
    return Runs(clock)


@pytest.fixture
def queue(clock: Clock, runs: Runs) -> Workqueue[str]:
    return Workqueue(runs, name="thing", sleep=clock.sleep, rng=random.Random(1))


async def test_the_first_change_runs_at_once(queue: Workqueue[str], runs: Runs) -> None:
    queue.wake("a")
    await settle()

    assert runs.times == [("a", 0.0)]


async def test_a_storm_of_changes_makes_one_run_a_second_in_the_end_and_the_last_change_is_seen(
    clock: Clock, queue: Workqueue[str], runs: Runs
) -> None:
    for _ in range(300):
        queue.wake("a")
        await clock.advance(0.01)
    await clock.advance(1.0)

    assert [at for _, at in runs.times] == [0.0, 0.2, 0.6, 1.4, 2.4, 3.4]


async def test_the_rest_is_short_again_after_a_storm(clock: Clock, queue: Workqueue[str], runs: Runs) -> None:
    for _ in range(100):
        queue.wake("a")
        await clock.advance(0.01)
    await clock.advance(2.0)
    runs.times.clear()

    queue.wake("a")
    await settle()
    queue.wake("a")
    await clock.advance(1.0)

    assert [at for _, at in runs.times] == [3.0, 3.2]


async def test_keys_do_not_wait_for_each_others_rest(queue: Workqueue[str], runs: Runs) -> None:
    queue.wake("a")
    queue.wake("b")
    await settle()

    assert runs.times == [("a", 0.0), ("b", 0.0)]


async def test_one_key_never_runs_twice_at_a_time_and_only_so_many_keys_do(clock: Clock) -> None:
    running: list[int] = []
    release = asyncio.Event()

    async def slow(key: int) -> None:
        running.append(key)
        await release.wait()

    queue = Workqueue(slow, name="thing", sleep=clock.sleep)
    for key in range(PARALLEL + 5):
        queue.wake(key)
        queue.wake(key)
    await settle()

    assert running == list(range(PARALLEL))
    release.set()
    await queue.stop()


async def test_a_run_the_cluster_refused_comes_again_later_each_time(
    clock: Clock, queue: Workqueue[str], runs: Runs
) -> None:
    runs.fail = [errors.Unavailable(503, "ServiceUnavailable", "down")] * 5

    queue.wake("a")
    await clock.advance(60)

    gaps = [after - before for (_, before), (_, after) in zip(runs.times, runs.times[1:], strict=False)]
    assert len(runs.times) == 6
    assert all(REST_SECONDS <= gap <= 5.0 for gap in gaps)
    assert gaps[-1] > gaps[0]


async def test_a_server_that_names_the_time_to_come_back_is_obeyed(
    clock: Clock, queue: Workqueue[str], runs: Runs
) -> None:
    runs.fail = [errors.Unavailable(429, "TooManyRequests", "slow down", retry_after=3.0)]

    queue.wake("a")
    await clock.advance(10)

    assert [at for _, at in runs.times] == [0.0, 3.0]


async def test_an_overtaken_run_comes_again_after_the_rest(
    clock: Clock, queue: Workqueue[str], runs: Runs
) -> None:
    runs.fail = [errors.Conflict(409, "Conflict", "changed")]

    queue.wake("a")
    await clock.advance(1)

    assert [at for _, at in runs.times] == [0.0, 0.2]


async def test_a_mistake_over_one_key_is_logged_and_ends_nothing(
    clock: Clock, queue: Workqueue[str], runs: Runs, caplog: pytest.LogCaptureFixture
) -> None:
    runs.fail = [ZeroDivisionError("ours")]

    with caplog.at_level(logging.ERROR):
        queue.wake("a")
        await clock.advance(1)

    assert [at for _, at in runs.times] == [0.0, 0.2]
    assert "thing failed key=a" in caplog.text


async def test_a_stopped_queue_runs_nothing_any_more(clock: Clock, queue: Workqueue[str], runs: Runs) -> None:
    queue.wake("a")
    await settle()
    queue.wake("a")

    await queue.stop()
    queue.wake("b")
    await clock.advance(10)

    assert runs.times == [("a", 0.0)]


async def test_a_change_that_somebody_waits_for_does_not_wait_for_the_rest(
    clock: Clock, queue: Workqueue[str], runs: Runs
) -> None:
    queue.wake("a")
    await clock.advance(0.05)

    queue.hurry("a")
    await settle()

    assert [at for _, at in runs.times] == [0.0, 0.05]


async def test_a_hurried_key_rests_again_afterwards(clock: Clock, queue: Workqueue[str], runs: Runs) -> None:
    queue.hurry("a")
    await clock.advance(0.05)
    queue.hurry("a")
    await settle()

    queue.wake("a")
    await clock.advance(0.1)
    assert len(runs.times) == 2

    await clock.advance(0.1)
    assert [at for _, at in runs.times] == [0.0, 0.05, 0.25]
