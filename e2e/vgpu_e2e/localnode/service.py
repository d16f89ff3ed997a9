"""An inference service on the local node: a claim and a Deployment of servers, under open load.

Requests come when they come, whether or not earlier ones are answered; latencies count from when one was due.
Who serves which is ``balancing``'s.
"""

import asyncio
import collections
import contextlib
import math
import random
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass

import aiohttp

from vgpu_e2e import objects
from vgpu_e2e.localnode import balancing, load, serving
from vgpu_e2e.localnode.elastic import ElasticBed
from vgpu_e2e.rest import Object
from vgpu_e2e.team import Team

KEPT_REQUESTS = 20_000

Rate = Callable[[float], float]
"""Requests per second at so many seconds after the beginning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request: when it was due, by the loop's clock, and its latency; None where it failed."""

    due: float
    latency: float | None


class Service:
    """A claim and its Deployment in a team's namespace, both of one name."""

    def __init__(self, bed: ElasticBed, team: Team, name: str) -> None:
        self.name = name
        self.team = team
        self.requests: collections.deque[Request] = collections.deque(maxlen=KEPT_REQUESTS)
        self._bed = bed
        self._balancer = balancing.Balancer(bed.servers.ready)

    @property
    def servers(self) -> int:
        """How many servers are ready."""
        return len(self._bed.servers.ready(*self._app))

    async def claim(self, scaling: Object | None = None, **spec: object) -> None:
        """Apply the claim; keywords as for objects.claim."""
        made = objects.claim(self.name, self.team.namespace, **spec)  # type: ignore[arg-type]  # passed through
        if scaling is not None:
            made["spec"]["scaling"] = {"targetRef": self._target, **scaling}
        await self._bed.apply([made])

    async def deploy(self, *arguments: str, replicas: int = 1) -> None:
        """Apply the Deployment; arguments are the server's."""
        made = objects.deployment(self.name, self.name, self.team.namespace, replicas=replicas)
        spec = made["spec"]["template"]["spec"]
        spec["containers"] = [serving.container(self._bed, *arguments)]
        await self._bed.apply([made])

    async def scale(self) -> int:
        """The replicas that the Deployment is asked to have."""
        found = await self._bed.api.get(self.deployment_path)
        return int(found["spec"]["replicas"])

    async def slices(self) -> dict[str, int]:
        """The compute of each slice as allocated in the ledger, by pod."""
        status = await self.team.status(self.name)
        return {each["podName"]: each["computePercent"] for each in status.get("allocations", [])}

    async def replicas(self) -> list[serving.Serving]:
        """The servers of its pods that have an address, in the order of their names."""
        pods, _ = await self._bed.api.list(
            self.team.pods_path, parameters={"labelSelector": f"app={self.name}"}
        )
        addressed = [each for each in pods if each.get("status", {}).get("podIP")]
        return [
            serving.of(self._bed, each) for each in sorted(addressed, key=lambda it: it["metadata"]["name"])
        ]

    def latencies(self, *, since: float) -> list[float]:
        """Latencies of requests due since a moment; a failed one took for ever."""
        return [
            math.inf if each.latency is None else each.latency for each in self.requests if each.due >= since
        ]

    @property
    def deployment_path(self) -> str:
        """The Deployment's path."""
        return f"/apis/apps/v1/namespaces/{self.team.namespace}/deployments/{self.name}"

    @property
    def rate_query(self) -> str:
        """Requests per second, over the last scrapes."""
        return (
            f'sum(rate(inference_requests_total{{namespace="{self.team.namespace}",app="{self.name}"}}[4s]))'
        )

    async def drive(self, rate: Rate, *, seconds: float, seed: int = 0) -> None:
        """Send requests at a rate that changes with time; return when the time is over."""
        rates = [rate(second / 10) for second in range(int(seconds * 10))]
        times = load.poisson(rates, seconds_per_rate=0.1, rng=random.Random(seed))
        await self.send(times, seconds=seconds)

    @contextlib.asynccontextmanager
    async def driven(self, rate: Rate, *, seconds: float) -> AsyncIterator[float]:
        """Load for as long as the block runs, `seconds` at most; gives the moment it began."""
        task = asyncio.create_task(self.drive(rate, seconds=seconds))
        try:
            yield asyncio.get_running_loop().time()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def send(self, times: Iterable[float], *, seconds: float) -> None:
        """Send a request at each of these times, in seconds from now; return when the time is over."""
        clock = asyncio.get_running_loop().time
        began = clock()
        connector = aiohttp.TCPConnector(limit=0)
        timeout = aiohttp.ClientTimeout(total=30)
        under_way: set[asyncio.Task[None]] = set()
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            try:
                for moment in times:
                    await asyncio.sleep(max(0.0, began + moment - clock()))
                    task = asyncio.create_task(self._one(session, began + moment))
                    under_way.add(task)
                    task.add_done_callback(under_way.discard)
                await asyncio.sleep(max(0.0, began + seconds - clock()))
            finally:  # who stops asking has lost nothing
                for task in under_way:
                    task.cancel()
                await asyncio.gather(*under_way, return_exceptions=True)

    async def _one(self, session: aiohttp.ClientSession, due: float) -> None:
        answer = None
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            answer = await self._balancer.send(session, self._app, "infer")
        served = answer is not None and answer.status == 200
        latency = asyncio.get_running_loop().time() - due if served else None
        self.requests.append(Request(due=due, latency=latency))

    @property
    def _app(self) -> balancing.App:
        return self.team.namespace, self.name

    @property
    def _target(self) -> Object:
        return {"apiVersion": "apps/v1", "kind": "Deployment", "name": self.name}


def steps(*pieces: tuple[float, float]) -> Rate:
    """A rate that is constant over pieces of (seconds, rate), the last one for ever."""

    def rate(at: float) -> float:
        for length, value in pieces:
            if at < length:
                return value
            at -= length
        return pieces[-1][1]

    return rate


def percentile(latencies: Sequence[float], part: float) -> float:
    """The latency that this part of the requests did not exceed; NaN of none."""
    ordered = sorted(latencies)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else math.nan
