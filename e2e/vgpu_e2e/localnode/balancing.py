"""Requests to the ready server with the fewest inside, as a Service or an ingress would send them.

They wait while there is none, and one that says it does not serve (503) is left for another.
"""

import asyncio
import collections
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import aiohttp

WAIT_SECONDS = 30.0
LOOK_SECONDS = 0.02
NOT_SERVING = 503

App = tuple[str, str]
"""A namespace and the app in it."""

Ready = Callable[[str, str], Sequence[str]]
"""The addresses of an app's servers that take requests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a server said."""

    status: int
    body: bytes


class Balancer:
    """Sends requests; ``waiting`` counts by app those that no server takes yet."""

    def __init__(self, ready: Ready) -> None:
        self.waiting: collections.Counter[App] = collections.Counter()
        self._ready = ready
        self._inside: collections.Counter[str] = collections.Counter()

    async def send(
        self,
        session: aiohttp.ClientSession,
        app: App,
        path: str,
        *,
        method: str = "POST",
        query: Mapping[str, str] | None = None,
    ) -> Answer | None:
        """Return the answer, None where no server takes the request in time. Raises aiohttp.ClientError."""
        clock = asyncio.get_running_loop().time
        end, refused = clock() + WAIT_SECONDS, set[str]()
        while clock() < end:
            address = self._emptiest(app, besides=refused)
            if address is None:
                refused.clear()
                await self._pause(app)
                continue
            answer = await self._ask(session, method, f"http://{address}/{path}", address, query)
            if answer.status != NOT_SERVING:
                return answer
            refused.add(address)
        return None

    def _emptiest(self, app: App, *, besides: Collection[str]) -> str | None:
        ready = [each for each in self._ready(*app) if each not in besides]
        return min(ready, key=self._inside.__getitem__, default=None)

    async def _pause(self, app: App) -> None:
        self.waiting[app] += 1
        try:
            await asyncio.sleep(LOOK_SECONDS)
        finally:
            self.waiting[app] -= 1

    async def _ask(
        self,
        session: aiohttp.ClientSession,
        method: str,
        url: str,
        address: str,
        query: Mapping[str, str] | None,
    ) -> Answer:
        self._inside[address] += 1
        try:
            async with session.request(method, url, params=query) as answer:
                return Answer(status=answer.status, body=await answer.read())
        finally:
            self._inside[address] -= 1
