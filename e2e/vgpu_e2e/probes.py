"""Ways to see that a process is ready; none of them raises because it is not."""

import ssl

import aiohttp

from vgpu_e2e import process

TIMEOUT = aiohttp.ClientTimeout(total=2)


def answers(url: str, *, tls: ssl.SSLContext | None = None) -> process.Probe:
    """Return a probe that says whether a GET of url gives 200."""

    async def probe() -> bool:
        try:
            async with (
                aiohttp.ClientSession(timeout=TIMEOUT) as session,
                session.get(url, ssl=tls if tls is not None else True) as response,
            ):
                return response.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False

    return probe
