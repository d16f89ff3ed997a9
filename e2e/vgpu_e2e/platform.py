"""The whole platform in one line: a control plane, nodes, our processes under accounts of their own.

    async with Bed(nodes=4) as bed:
        await bed.plane.apply(Path("demo/pool.yaml"))

No process of ours is ever cluster admin here: each has the ServiceAccount and the roles of the chart.
"""

import contextlib
import dataclasses
import datetime
import os
import ssl
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from vgpu_e2e import (
    agents,
    background,
    controlplane,
    gpunodes,
    guards,
    kubelets,
    manifests,
    probes,
    process,
    rest,
    scheduler,
)

REPOSITORY = Path(__file__).resolve().parents[2]
ROOMS = ("core", "operator", "webhooks", "shim")
CRDS = REPOSITORY / "crds"
CHART_FILES = REPOSITORY / "helm" / "vgpu" / "files"
NAMESPACE = "vgpu-system"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One process of ours, where it listens, and how to see that it is ready."""

    process: process.Process
    url: str
    tls: ssl.SSLContext | None = None

    async def ready(self, *, timeout_seconds: float = 60.0) -> None:
        """Return once /readyz answers 200."""
        probe = probes.answers(f"{self.url}/readyz", tls=self.tls)
        await self.process.ready(probe, awaited=f"GET {self.url}/readyz", timeout_seconds=timeout_seconds)

    async def restart(self, *extra: str) -> None:
        """Kill it, start it again with extra arguments this time, and return once it is ready."""
        await self.process.killed()
        self.process.start(*extra)
        await self.ready()


class Bed:
    """A running platform inside the `async with`: every part is ready and every node is known.

    With several extenders each has a scheduler of its own, and those elect the one that works. A short lease
    makes a takeover quick, and writes time out early on a busy machine.
    """

    def __init__(
        self,
        *,
        nodes: int = 4,
        shape: gpunodes.NodeShape | None = None,
        extenders: int = 1,
        lease_seconds: int = 8,
        log_level: str = "info",
        directory: Path | None = None,
        keep: bool = False,
    ) -> None:
        self._node_count = nodes
        self._shape = shape
        self._extender_count = extenders
        self._lease_seconds = lease_seconds
        self._log_level = log_level
        self.plane = controlplane.ControlPlane(directory, definitions=CRDS, keep=keep)
        self.extenders: list[Service] = []
        self.schedulers: list[scheduler.Scheduler] = []
        self._closing = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        try:
            await self._closing.enter_async_context(self.plane)
            await self._populate()
            await self._start_services()
            await self._start_schedulers()
        except BaseException:
            await self._abandon()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._closing.aclose()

    @property
    def api(self) -> rest.API:
        """The API server as its admin, for tests to look and act."""
        return self.plane.api

    @property
    def services(self) -> list[Service]:
        """Our processes that run beside the control plane."""
        return [self.admission, self.operator, *self.extenders]

    async def kubectl(self, *arguments: str, stdin: str = "", identity: Path | None = None) -> str:
        """Return what kubectl prints, as ControlPlane.kubectl does."""
        return await self.plane.kubectl(*arguments, stdin=stdin, identity=identity)

    async def apply(self, source: Path | list[rest.Object]) -> None:
        """Apply manifests, as ControlPlane.apply does."""
        await self.plane.apply(source)

    async def _populate(self) -> None:
        chart = manifests.load(CHART_FILES)
        self._webhooks = [each for each in chart if manifests.is_webhook(each)]
        await self.plane.apply([each for each in chart if not manifests.is_webhook(each)])
        self.nodes = await gpunodes.make_nodes(
            self.api, self._node_count, shape=self._shape, now=datetime.datetime.now(datetime.UTC)
        )
        self.kubelet = await self._closing.enter_async_context(kubelets.FakeKubelet(self.api))
        self.mirror = await self._closing.enter_async_context(agents.AgentMirror(self.api))

    async def _start_services(self) -> None:
        extenders = [self._start_extender(index) for index in range(self._extender_count)]
        self.admission, self.operator, *self.extenders = await background.together(
            [self._start_admission(), self._start_operator(), *extenders]
        )
        authority = self.plane.authority.certificate.read_bytes()
        url = self.admission.url
        await self.plane.apply(
            [manifests.point_webhooks_at(each, url=url, authority=authority) for each in self._webhooks]
        )
        await background.together(self._effective(door) for door in guards.DOORS)

    async def _effective(self, door: guards.Door) -> None:
        awaited = f"a forbidden pod to be refused by a {door.guard}"
        await process.until(lambda: guards.refuses(self.api, door), timeout_seconds=30.0, awaited=awaited)

    async def _start_schedulers(self) -> None:
        election = scheduler.Election() if len(self.extenders) > 1 else None
        for index, extender in enumerate(self.extenders):
            started = scheduler.Scheduler(
                self.plane, extender.url, name=f"kube-scheduler-{index}", election=election
            )
            self.schedulers.append(await self._closing.enter_async_context(started))

    async def _start_admission(self) -> Service:
        pair = self.plane.authority.issue("admission", common_name="vgpu-admission")
        trusted = ssl.create_default_context(cafile=str(self.plane.authority.certificate))
        options = {"cert": pair.certificate, "key": pair.key}
        return await self._start(
            "vgpu-admission",
            "vgpu_webhooks.admission",
            account="vgpu-admission",
            options=options,
            tls=trusted,
        )

    async def _start_operator(self) -> Service:
        return await self._start(
            "vgpu-operator", "vgpu_operator", account="vgpu-operator", port_flag="metrics-port", options={}
        )

    async def _start_extender(self, index: int) -> Service:
        name = f"vgpu-extender-{index}"
        options = {
            "identity": name,
            "lease-duration": self._lease_seconds,
            "namespace": NAMESPACE,
        }
        return await self._start(name, "vgpu_webhooks.extender", account="vgpu-extender", options=options)

    async def _start(
        self,
        name: str,
        module: str,
        *,
        account: str,
        options: Mapping[str, object],
        port_flag: str = "port",
        tls: ssl.SSLContext | None = None,
    ) -> Service:
        kubeconfig = await self.plane.kubeconfig_for(account, NAMESPACE)
        fixed = {**options, "kubeconfig": kubeconfig, "log-level": self._log_level}

        def made(ports: list[int]) -> process.Process:
            command = [sys.executable, "-m", module, *controlplane.flags(fixed | {port_flag: ports[0]})]
            return self.plane.child(name, command, environment=_environment(self.plane.directory))

        def url(ports: list[int]) -> str:
            return f"{'https' if tls else 'http'}://127.0.0.1:{ports[0]}"

        started, ports = await process.start_on_free_ports(
            made,
            lambda ports: probes.answers(f"{url(ports)}/readyz", tls=tls),
            count=1,
            awaited="GET /readyz",
        )
        self._closing.push_async_callback(started.stop)
        return Service(process=started, url=url(ports), tls=tls)

    async def _abandon(self) -> None:
        """Stop everything; the control plane leaves its directory, whose logs the error names."""
        self.plane.keep = True
        await self._closing.aclose()


def _environment(home: Path) -> dict[str, str]:
    return {
        "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
        "HOME": str(home),
        "PYTHONPATH": os.pathsep.join(str(REPOSITORY / room) for room in ROOMS),
        "PYTHONUNBUFFERED": "1",
    }
