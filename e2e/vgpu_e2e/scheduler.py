"""A real kube-scheduler in front of a control plane, with or without an extender. Several can run at once."""

import asyncio
import dataclasses
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import yaml

from vgpu.api import names
from vgpu_e2e import controlplane, probes, process
from vgpu_e2e.rest import Object

STOCK_PROFILE = "default-scheduler"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Election:
    """Several schedulers, one of them at work; the bounds of kube-scheduler's own lease."""

    lease_seconds: int = 4
    renew_seconds: int = 3
    retry_seconds: int = 1


class Scheduler:
    """A kube-scheduler that is healthy inside the `async with`; with an election it may only be waiting.

    The extender answers /filter, /bind and /preempt below extender_url; None means the stock scheduler.
    """

    def __init__(
        self,
        plane: controlplane.ControlPlane,
        extender_url: str | None,
        *,
        name: str = "kube-scheduler",
        profiles: Sequence[str] = (names.SCHEDULER_NAME, STOCK_PROFILE),
        election: Election | None = None,
    ) -> None:
        self._plane = plane
        self._name = name
        self._configuration = configuration(
            plane.scheduler_kubeconfig, extender_url=extender_url, profiles=profiles, election=election
        )

    async def __aenter__(self) -> Self:
        path = self._plane.directory / f"{self._name}.yaml"
        await asyncio.to_thread(path.write_text, yaml.safe_dump(self._configuration))
        self.process, [self.port] = await process.start_on_free_ports(
            lambda ports: self._plane.child(self._name, self._command(path, ports[0])),
            lambda ports: probes.answers(f"https://127.0.0.1:{ports[0]}/healthz", tls=_unverified()),
            count=1,
            awaited="GET /healthz",
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.process.stop(grace_seconds=2.0)

    def _command(self, path: Path, port: int) -> list[str | Path]:
        options = {
            "config": path,
            "bind-address": "127.0.0.1",
            "secure-port": port,
            "authorization-always-allow-paths": "/healthz,/readyz,/metrics",
        }
        return [self._plane.binaries / "kube-scheduler", *controlplane.flags(options)]


def configuration(
    kubeconfig: Path, *, extender_url: str | None, profiles: Sequence[str], election: Election | None
) -> Object:
    """Return a KubeSchedulerConfiguration; the default qps of 50 would cap the binding rate."""
    document: Object = {
        "apiVersion": "kubescheduler.config.k8s.io/v1",
        "kind": "KubeSchedulerConfiguration",
        "clientConnection": {"kubeconfig": str(kubeconfig), "qps": 1000, "burst": 2000},
        "leaderElection": _leader_election(election),
        "percentageOfNodesToScore": 100,
        "profiles": [{"schedulerName": name} for name in profiles],
    }
    if extender_url is not None:
        document["extenders"] = [_extender(extender_url)]
    return document


def _extender(url: str) -> Object:
    return {
        "urlPrefix": url,
        "filterVerb": "filter",
        "bindVerb": "bind",
        "preemptVerb": "preempt",
        "httpTimeout": "5s",
        "nodeCacheCapable": True,
        "ignorable": False,
        "managedResources": [{"name": names.SLICE_RESOURCE, "ignoredByScheduler": True}],
    }


def _leader_election(election: Election | None) -> Object:
    if election is None:
        return {"leaderElect": False}
    return {
        "leaderElect": True,
        "resourceName": "kube-scheduler",  # the one lease that its own ClusterRole allows
        "resourceNamespace": "kube-system",
        "leaseDuration": f"{election.lease_seconds}s",
        "renewDeadline": f"{election.renew_seconds}s",
        "retryPeriod": f"{election.retry_seconds}s",
    }


def _unverified() -> ssl.SSLContext:
    """The scheduler makes its own certificate, signed by nobody."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
