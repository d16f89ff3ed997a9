"""Inference servers as pods of a team: started, found, asked, and looked at from outside."""

import asyncio
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import aiohttp

from vgpu_e2e import probes, process
from vgpu_e2e.localnode.bed import LocalBed
from vgpu_e2e.rest import Object
from vgpu_e2e.team import Team
from vgpu_shim.limits import DeviceLimits, LimitsPage
from vgpu_shim.usage import DeviceUsage, UsagePage

MODULE = "vgpu_e2e.localnode.server"
PORT = 8000
READY: Object = {"httpGet": {"path": "/ready", "port": PORT}, "periodSeconds": 1, "failureThreshold": 1}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """One server's pod, where it listens, and where its slice's pages lie."""

    name: str
    url: str
    slice_directory: Path

    async def ask(self, method: str, path: str) -> tuple[int, Object]:
        """Return the status and the JSON of an answer."""
        async with aiohttp.ClientSession() as session, session.request(method, self.url + path) as response:
            return response.status, await response.json()

    async def infer(self, session: aiohttp.ClientSession) -> int:
        """Return the status of one request, when it has been served."""
        async with session.post(f"{self.url}/infer") as response:
            await response.read()
            return response.status

    async def memory(self) -> Object:
        """Return what the server's own driver calls tell it."""
        _, answer = await self.ask("GET", "/memory")
        return answer

    async def take(self, mib: int) -> int:
        """Return the CUresult of one more allocation."""
        _, answer = await self.ask("POST", f"/memory?mib={mib}")
        return int(answer["result"])

    async def asleep(self) -> bool:
        """Return whether it says that it sleeps."""
        _, answer = await self.ask("GET", "/is_sleeping")
        return bool(answer["is_sleeping"])

    def limits(self, index: int = 0) -> DeviceLimits:
        """Return the limits in force."""
        with LimitsPage(self.slice_directory / "limits") as page:
            return page.read(index)

    def usage(self, index: int = 0) -> DeviceUsage:
        """Return the slice's account."""
        with UsagePage(self.slice_directory / "usage" / "accounts") as page:
            return page.read(index)

    async def gpu_percent(self, *, seconds: float) -> float:
        """Return the part of one GPU's time that the slice uses, measured from now on."""
        clock = asyncio.get_running_loop().time
        before, began = self.usage().counters.gpu_ns, clock()
        await asyncio.sleep(seconds)
        return 100 * (self.usage().counters.gpu_ns - before) / 1e9 / (clock() - began)


def container(bed: LocalBed, *arguments: str, name: str = "main") -> Object:
    """Return a container that runs the server, on its pod's own address."""
    listening = {"ports": [{"containerPort": PORT}], "readinessProbe": READY}
    return program(bed, ["-m", MODULE, "--port", str(PORT), *arguments], name=name, **listening)


def program(bed: LocalBed, arguments: Sequence[str], *, name: str = "main", **spec: object) -> Object:
    """Return a container that runs this Python."""
    return {"name": name, **bed.server_image, "command": [bed.python, *arguments], **spec}


async def start(
    bed: LocalBed, team: Team, claim: str, *arguments: str, pod: str = "", slice_id: str = "", **spec: object
) -> Serving:
    """Run a server for a claim; return once it answers. A Shared claim's slice has the claim's UID."""
    containers = [container(bed, *arguments)]
    [name] = await team.run(claim, prefix=pod or claim, containers=containers, **spec)  # type: ignore[arg-type]  # keywords are passed through
    found: Object = {}

    async def answers() -> bool:
        found.update(await bed.api.get(f"{team.pods_path}/{name}"))
        host = found["status"].get("podIP")
        return bool(host) and await probes.answers(f"http://{host}:{PORT}/healthz")()

    await process.until(answers, timeout_seconds=60, awaited=f"an answer of server {name}")
    return of(bed, found, slice_id=slice_id)


def of(bed: LocalBed, pod: Object, *, slice_id: str = "") -> Serving:
    """Return the server that a running pod is."""
    uid = slice_id or pod["metadata"]["uid"]
    url = f"http://{pod['status']['podIP']}:{PORT}"
    return Serving(name=pod["metadata"]["name"], url=url, slice_directory=bed.agent_root / "slices" / uid)


def statuses(pod: Object) -> Mapping[str, Object]:
    """Return the container statuses of a pod by name, init containers among them."""
    status = pod["status"]
    listed = [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]
    return {each["name"]: each for each in listed}
