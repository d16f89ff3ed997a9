"""Tasks beside a test end with it, and their failures are heard."""

import asyncio

import pytest

from vgpu_e2e import background


async def test_a_task_is_cancelled_at_the_end() -> None:
    ended = asyncio.Event()

    async def forever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    tasks = background.Background()
    tasks.start(forever())
    await asyncio.sleep(0)

    await tasks.close()

    assert ended.is_set()


async def test_what_is_done_together_answers_in_order() -> None:
    async def answer(value: int) -> int:
        return value

    assert await background.together(answer(value) for value in range(3)) == [0, 1, 2]


async def test_one_failure_ends_what_is_done_together() -> None:
    ended = asyncio.Event()

    async def forever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def fail() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await background.together([forever(), fail()])

    assert ended.is_set()


async def test_a_failure_is_raised_at_the_end() -> None:
    async def fail() -> None:
        raise ValueError("broken")

    tasks = background.Background()
    tasks.start(fail())
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    with pytest.raises(ValueError, match="broken"):
        await tasks.close()
