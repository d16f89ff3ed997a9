"""The one door to Prometheus: range queries, each within its time. What is asked stands elsewhere."""

import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

import requests
from prometheus_api_client import PrometheusApiClientException, PrometheusConnect
from urllib3.util.retry import Retry

from vgpu_operator.elasticity import series

TIMEOUT_SECONDS = 3.0
"""One query may take this long; a loop that waits longer decides on old news."""

LOOKBACK_SECONDS = 15
"""A value that nobody has scraped for so long is none; Prometheus' own five minutes would hide an outage."""


class Rejected(Exception):  # noqa: N818 -- named for what happened to the query
    """Prometheus cannot evaluate this query; asking it again cannot help, another one may work."""


class Away(Exception):  # noqa: N818 -- named for what happened to Prometheus
    """No usable answer in time; every query would fare alike."""


class Source(Protocol):
    """Who answers range queries."""

    async def ranges(self, query: str, *, start: int, end: int) -> Sequence[series.Series]:
        """One value a second from ``start`` to ``end``, seconds since the epoch. Raises Rejected or Away."""
        ...


class Server:
    """A Prometheus server, or anything that answers its queries."""

    def __init__(self, url: str, *, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self._timeout = timeout_seconds
        self._connection = PrometheusConnect(
            url=url.rstrip("/"), retry=Retry(total=0), timeout=timeout_seconds, method="POST"
        )

    async def ranges(self, query: str, *, start: int, end: int) -> Sequence[series.Series]:
        """As promised by ``Source``; the answer is awaited in a thread."""
        try:
            async with asyncio.timeout(2 * self._timeout):  # the client's own limit is one per read
                return series.parsed(await asyncio.to_thread(self._asked, query, start, end))
        except TimeoutError as error:
            raise Away(f"no answer from Prometheus within {2 * self._timeout:g} s") from error
        except PrometheusApiClientException as error:
            raise _refusal(str(error)) from error
        except requests.Timeout as error:
            raise Away(f"no answer from Prometheus within {self._timeout:g} s") from error
        except requests.RequestException as error:
            raise Away(f"Prometheus cannot be reached: {type(error).__name__}") from error
        except (ValueError, KeyError, TypeError) as error:  # no JSON, or not Prometheus' JSON
            raise Away(f"what answers is no Prometheus: {error}") from error

    def _asked(self, query: str, start: int, end: int) -> Any:  # noqa: ANN401 -- JSON, parsed by the caller
        return self._connection.custom_query_range(
            query,
            start_time=datetime.fromtimestamp(start, UTC),
            end_time=datetime.fromtimestamp(end, UTC),
            step="1",
            params={"timeout": f"{self._timeout:g}s", "lookback_delta": f"{LOOKBACK_SECONDS}s"},
        )

    def close(self) -> None:
        """Lets go of the connections."""
        self._connection.close()


def _refusal(message: str) -> Rejected | Away:
    """By the client's message: 400, 422 and a time-out of Prometheus' own speak of the query."""
    words = _said(message)
    if message.startswith(("HTTP Status Code 400", "HTTP Status Code 422")) or '"timeout"' in message:
        return Rejected(words)
    return Away(words)


def _said(message: str) -> str:
    """Prometheus' own words where the client's message holds its JSON."""
    found = message[message.find("{") : message.rfind("}") + 1]
    try:
        return str(json.loads(found)["error"])[:300]
    except (ValueError, KeyError, TypeError):
        return message[:300]
