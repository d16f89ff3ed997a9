"""Filter waits while too many Bindings are under way, and never for ever."""

import asyncio
import contextlib

from vgpu_webhooks.extender import backlog


async def test_nobody_waits_below_the_limit() -> None:
    under_way = backlog.Backlog(2)

    with under_way.one_more():
        await under_way.eased(patience_seconds=0)  # a wait would only end with the patience, unseen
        waiting = asyncio.ensure_future(under_way.eased(patience_seconds=3600))
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    assert waiting.done()


async def test_at_the_limit_one_waits_until_another_has_ended() -> None:
    under_way = backlog.Backlog(1)
    first = contextlib.ExitStack()
    first.enter_context(under_way.one_more())
    waiting = asyncio.ensure_future(under_way.eased(patience_seconds=3600))
    await asyncio.sleep(0)
    assert not waiting.done()

    first.close()
    await waiting


async def test_patience_ends() -> None:
    under_way = backlog.Backlog(1)

    with under_way.one_more():
        await under_way.eased(patience_seconds=0)
