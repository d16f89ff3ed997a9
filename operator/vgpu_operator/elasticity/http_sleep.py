"""vLLM's sleep mode over HTTP: POST /sleep, POST /wake_up, GET /is_sleeping. Nothing is decided here."""

import aiohttp

from vgpu_operator.elasticity.sleepers import Silent

LOOK_SECONDS = 1.0
"""An answer to whether it sleeps has to come at once: every look waits for it."""

TURN_SECONDS = 5.0
"""Falling asleep and waking move weights; published times are tenths of a second."""


class Door:
    """Asks applications, one connection each time: there are few of them, and seldom."""

    async def asleep(self, address: str) -> bool:
        """Whether the application at an address sleeps. Raises Silent."""
        answer = await self._ask("GET", f"http://{address}/is_sleeping", LOOK_SECONDS)
        if not isinstance(answer, dict) or not isinstance(answer.get("is_sleeping"), bool):
            raise Silent(f"expected is_sleeping true or false, found {answer!r}")
        return bool(answer["is_sleeping"])

    async def sleep(self, address: str) -> None:
        """Lets it give its memory back and keep its weights aside. Raises Silent."""
        await self._ask("POST", f"http://{address}/sleep?level=1", TURN_SECONDS)

    async def wake(self, address: str) -> None:
        """Lets it take its memory again. Raises Silent."""
        await self._ask("POST", f"http://{address}/wake_up", TURN_SECONDS)

    async def _ask(self, method: str, url: str, seconds: float) -> object:
        timeout = aiohttp.ClientTimeout(total=seconds)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.request(method, url) as answer,
            ):
                if answer.status != 200:
                    raise Silent(f"{method} {url} answers {answer.status}")
                return await answer.json() if method == "GET" else None
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise Silent(f"{method} {url} gives no answer: {type(error).__name__}") from error
