"""An inference service on the local node: a Deployment of servers, found as they come, under open load.

Requests come when they come, each to the server with the fewest inside; latencies count from when a request
was due. Every server that is ready is scraped.
"""

import asyncio
import collections
import contextlib
import math
import random
import re
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

import aiohttp

from vgpu_e2e import background, objects
from vgpu_e2e.localnode import load, serving
from vgpu_e2e.localnode.elastic import ElasticBed
from vgpu_e2e.rest import Object
from vgpu_e2e.team import Team

LOOK_SECONDS = 0.25
KEPT_REQUESTS = 20_000
LISTENING = re.compile(r"^listening on (\S+)$", re.MULTILINE)

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
        self._inside: dict[str, int] = {}  # address of each ready server -> requests inside

    @property
    def servers(self) -> int:
        """How many servers are ready."""
        return len(self._inside)

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
        spec["containers"] = [serving.container(self._bed, 0, *arguments)]
        await self._bed.apply([made])

    async def scale(self) -> int:
        """The replicas that the Deployment is asked to have."""
        found = await self._bed.api.get(self.deployment_path)
        return int(found["spec"]["replicas"])

    async def slices(self) -> dict[str, int]:
        """The compute of each slice as allocated in the ledger, by pod."""
        status = await self.team.status(self.name)
        return {each["podName"]: each["computePercent"] for each in status.get("allocations", [])}

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
        return f'sum(rate(inference_requests_total{{app="{self.name}"}}[4s]))'

    @contextlib.asynccontextmanager
    async def followed(self) -> AsyncIterator[None]:
        """Keep the list of ready servers and what Prometheus scrapes up to date."""
        work = background.Background()
        work.start(self._follow())
        try:
            yield
        finally:
            await work.close()

    async def drive(self, rate: Rate, *, seconds: float, seed: int = 0) -> None:
        """Send requests at a rate that changes with time; return when the time is over."""
        clock = asyncio.get_running_loop().time
        rates = [rate(second / 10) for second in range(int(seconds * 10))]
        began = clock()
        connector = aiohttp.TCPConnector(limit=0)
        timeout = aiohttp.ClientTimeout(total=30)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            under_way = set()
            for moment in load.poisson(rates, seconds_per_rate=0.1, rng=random.Random(seed)):
                await asyncio.sleep(max(0.0, began + moment - clock()))
                task = asyncio.create_task(self._one(session, began + moment))
                under_way.add(task)
                task.add_done_callback(under_way.discard)
            await asyncio.sleep(max(0.0, began + seconds - clock()))
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)

    async def _one(self, session: aiohttp.ClientSession, due: float) -> None:
        address = min(self._inside, key=self._inside.__getitem__, default=None)
        latency = None
        if address is not None:
            self._inside[address] += 1
            try:
                async with session.post(f"http://{address}/infer") as response:
                    if response.status == 200:
                        latency = asyncio.get_running_loop().time() - due
            except (aiohttp.ClientError, TimeoutError):
                pass
            finally:
                if address in self._inside:
                    self._inside[address] -= 1
        self.requests.append(Request(due=due, latency=latency))

    async def _follow(self) -> None:
        known: dict[str, str] = {}
        while True:
            selector = {"labelSelector": f"app={self.name}"}
            pods, _ = await self._bed.api.list(self.team.pods_path, parameters=selector)
            ready = {each["metadata"]["name"]: address for each in pods if (address := self._address(each))}
            for pod in ready.keys() - known.keys():
                self._inside[ready[pod]] = 0
                self._bed.prometheus.scrape(pod, f"http://{ready[pod]}", app=self.name)
            for pod in known.keys() - ready.keys():
                self._inside.pop(known[pod], None)
                self._bed.prometheus.forget(pod)
            known = ready
            await asyncio.sleep(LOOK_SECONDS)

    def _address(self, pod: Object) -> str | None:
        conditions = pod.get("status", {}).get("conditions", [])
        ready = any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
        if not ready or "deletionTimestamp" in pod["metadata"]:
            return None
        starts = LISTENING.findall(self._bed.output(pod, "main"))
        return starts[-1] if starts else None

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
