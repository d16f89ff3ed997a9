"""A name waits once, and is never worked on twice at a time."""

import asyncio

from vgpu_e2e import workqueue


async def test_a_name_added_twice_waits_once() -> None:
    queue = workqueue.WorkQueue()
    for name in ("a", "a", "b"):
        queue.add(name)

    taken = []
    for _ in range(2):
        async with queue.turn() as name:
            taken.append(name)

    assert taken == ["a", "b"]


async def test_a_name_added_while_it_is_worked_on_comes_again_afterwards() -> None:
    queue = workqueue.WorkQueue()
    queue.add("a")

    async with queue.turn():
        queue.add("a")
        second = asyncio.create_task(take(queue))
        await asyncio.sleep(0)
        assert not second.done()

    assert await second == "a"


async def take(queue: workqueue.WorkQueue) -> str:
    async with queue.turn() as name:
        return name
