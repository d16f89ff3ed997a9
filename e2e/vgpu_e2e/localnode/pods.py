"""One pod on the local node, from its binding to its end: volumes, containers, restarts, status."""

import asyncio
import contextlib
import datetime
import logging
from dataclasses import replace
from pathlib import Path

import grpc

from vgpu.api import names
from vgpu_e2e import gpunodes, process, rest
from vgpu_e2e.localnode import containers, csi, readiness, status
from vgpu_e2e.localnode.machine import Machine
from vgpu_e2e.localnode.status import State
from vgpu_e2e.rest import Object

PUBLISH_AGAIN_SECONDS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)  # as the kubelet's back-off begins
RESTART_SECONDS = (0.05, 0.2, 1.0, 5.0)
FOREVER_SECONDS = 1e6

logger = logging.getLogger(__name__)


class PodWorker:
    """Runs one pod; `run` ends when the pod is gone from the API server."""

    def __init__(
        self,
        api: rest.API,
        pod: Object,
        *,
        machine: Machine,
        plugin: csi.Plugin,
        directory: Path,
        address: str,
    ) -> None:
        self.pod = pod
        self.address = address
        self.processes: dict[str, process.Process] = {}
        self._api = api
        self._machine = machine
        self._plugin = plugin
        self._directory = directory / "pods" / pod["metadata"]["uid"]
        self._logs = directory / "logs"
        self._states: dict[str, State] = {}
        self._deleted = asyncio.Event()

    def changed(self, pod: Object) -> None:
        """The API server says something new about the pod."""
        self.pod = pod
        if pod["metadata"].get("deletionTimestamp"):
            self._deleted.set()

    async def run(self) -> None:
        """Run the pod to its end, then take everything away."""
        living = asyncio.create_task(self._live())
        deleted = asyncio.create_task(self._deleted.wait())
        try:
            await asyncio.wait([living, deleted], return_when=asyncio.FIRST_COMPLETED)
            if living.done():
                living.result()
            await deleted
        finally:
            living.cancel()
            deleted.cancel()
            await asyncio.gather(living, deleted, return_exceptions=True)
            await self._terminate()

    async def kill(self) -> None:
        """Kill every process at once, as when the machine goes."""
        for each in self.processes.values():
            await each.killed()

    # ---- living

    async def _live(self) -> None:
        volumes = await self._publish()
        place = containers.Place(
            machine=self._machine, logs=self._logs, volumes=volumes, address=self.address
        )
        kept = []
        for container in self.pod["spec"].get("initContainers", []):
            if container.get("restartPolicy") == "Always":
                await self._start(container, place)
                kept.append(container)
            else:
                await self._complete(container, place)
        for container in self.pod["spec"]["containers"]:
            await self._start(container, place)
            kept.append(container)
        await self._report()
        asked = (self._ask(container) for container in kept if readiness.probed(container))
        await asyncio.gather(*(self._keep(container, place) for container in kept), *asked)

    async def _publish(self) -> dict[str, Path]:
        shown: dict[str, Path] = {}
        for volume in self._inline_volumes():
            target = self._target(volume)
            for attempt in range(1000):
                try:
                    await self._plugin.publish(self.pod, volume, target)
                    break
                except grpc.aio.AioRpcError as error:
                    logger.info("publish failed pod=%s reason=%s", self._name, error.details())
                    pauses = PUBLISH_AGAIN_SECONDS
                    await asyncio.sleep(pauses[min(attempt, len(pauses) - 1)])
            shown[volume] = target
        return shown

    async def _start(self, container: Object, place: containers.Place) -> None:
        name = container["name"]
        started = containers.process_of(self.pod, container, place)
        started.start()
        self.processes[name] = started
        before = self._states.get(name, State())
        self._states[name] = replace(
            before,
            started_at=_now(),
            exit_code=None,
            ended_at=None,
            answers=not readiness.probed(container),
        )

    async def _complete(self, container: Object, place: containers.Place) -> None:
        """Run an init container until it succeeds."""
        for attempt in range(1000):
            await self._start(container, place)
            await self._report()
            if await self._ended(container["name"]) == 0:
                await self._report()
                return
            await self._rest(container["name"], attempt)

    async def _keep(self, container: Object, place: containers.Place) -> None:
        """Start a container again whenever its pod's policy says so."""
        policy = container.get("restartPolicy") or self.pod["spec"].get("restartPolicy", "Always")
        for attempt in range(1000):
            code = await self._ended(container["name"])
            await self._report()
            if policy == "Never" or (policy == "OnFailure" and code == 0):
                return
            await self._rest(container["name"], attempt)
            await self._start(container, place)
            await self._report()

    async def _ask(self, container: Object) -> None:
        """Ask a container whether it is ready as long as its pod lives; others are told of changes."""
        name = container["name"]
        while True:
            answers = await readiness.ready(container, self.address)
            if answers != self._states[name].answers:
                self._states[name] = replace(self._states[name], answers=answers)
                await self._report()
            await asyncio.sleep(readiness.pause(container, ready=answers))

    async def _rest(self, name: str, attempt: int) -> None:
        before = self._states[name]
        self._states[name] = replace(before, restarts=before.restarts + 1)
        await asyncio.sleep(RESTART_SECONDS[min(attempt, len(RESTART_SECONDS) - 1)])

    async def _ended(self, name: str) -> int:
        running = self.processes[name]

        async def over() -> bool:
            return not running.running

        await process.until(over, timeout_seconds=FOREVER_SECONDS, awaited=f"the end of {running.name}")
        code = running.returncode or 0
        code = 128 - code if code < 0 else code
        self._states[name] = replace(self._states[name], exit_code=code, ended_at=_now())
        return code

    async def _report(self) -> None:
        written = status.pod_status(self.pod, self._states, address=self.address, now=_now())
        about = {"uid": self.pod["metadata"]["uid"]}
        with contextlib.suppress(rest.NotFoundError, rest.ConflictError):
            await self._api.patch(f"{self._path}/status", {"metadata": about, "status": written})

    # ---- ending

    async def _terminate(self) -> None:
        grace = self.pod["metadata"].get("deletionGracePeriodSeconds", 0)
        if grace:
            await asyncio.gather(*(each.stop(grace_seconds=grace) for each in self.processes.values()))
        await self.kill()
        for volume in self._inline_volumes():
            with contextlib.suppress(grpc.aio.AioRpcError):
                await self._plugin.unpublish(self.pod, volume, self._target(volume))
        preconditions = {"uid": self.pod["metadata"]["uid"]}
        with contextlib.suppress(rest.NotFoundError, rest.ConflictError):
            await self._api.delete(self._path, {"gracePeriodSeconds": 0, "preconditions": preconditions})

    def _inline_volumes(self) -> list[str]:
        return [
            each["name"]
            for each in self.pod["spec"].get("volumes", [])
            if each.get("csi", {}).get("driver") == names.CSI_DRIVER
        ]

    def _target(self, volume: str) -> Path:
        target: Path = self._directory / "volumes" / "kubernetes.io~csi" / volume / "mount"
        return target

    @property
    def _name(self) -> str:
        return str(self.pod["metadata"]["name"])

    @property
    def _path(self) -> str:
        return f"/api/v1/namespaces/{self.pod['metadata']['namespace']}/pods/{self._name}"


def _now() -> str:
    return gpunodes.timestamp(datetime.datetime.now(datetime.UTC))
