"""The local node itself: its Node object, the pods bound to it, the kubelet's part of extended resources."""

import contextlib
import datetime
import random
from pathlib import Path
from typing import Self

from vgpu.api import names
from vgpu_e2e import background, gpunodes, rest
from vgpu_e2e.localnode import csi, loopback, machine, pods
from vgpu_e2e.rest import Object

STAND_IN = "e2e.vgpu.dev/stand-in"  # on pods that exist for their identity only


class LocalNode:
    """Runs what is bound to it inside the `async with`; every process ends with it."""

    def __init__(
        self, api: rest.API, name: str, *, gpus: machine.Machine, plugin: csi.Plugin, directory: Path
    ) -> None:
        self.name = name
        self.workers: dict[str, pods.PodWorker] = {}
        self.seen: dict[str, Object] = {}  # every pod that was ever bound here, as it was last
        self._api = api
        self._machine = gpus
        self._plugin = plugin
        self._directory = directory
        self._addresses = loopback.addresses(random.Random())
        self._work = background.Background()

    async def __aenter__(self) -> Self:
        self._work.start(self._watch_pods())
        self._work.start(self._watch_node())
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            await self._work.close()
        finally:
            for worker in self.workers.values():
                await worker.kill()

    def worker(self, pod_name: str) -> pods.PodWorker:
        """Return the worker of a running pod."""
        return next(each for each in self.workers.values() if each.pod["metadata"]["name"] == pod_name)

    async def _watch_pods(self) -> None:
        bound = {"fieldSelector": f"spec.nodeName={self.name}"}
        async for kind, pod in self._api.watch("/api/v1/pods", parameters=bound):
            uid = pod["metadata"]["uid"]
            self.seen[uid] = pod
            if STAND_IN in pod["metadata"].get("labels", {}) or kind == "DELETED":
                continue
            if uid not in self.workers and not finished(pod):
                self.workers[uid] = pods.PodWorker(
                    self._api,
                    pod,
                    machine=self._machine,
                    plugin=self._plugin,
                    directory=self._directory,
                    address=next(self._addresses),
                )
                self._work.start(self._run(uid))
            if uid in self.workers:
                self.workers[uid].changed(pod)

    async def _run(self, uid: str) -> None:
        await self.workers[uid].run()
        self.workers.pop(uid, None)

    async def _watch_node(self) -> None:
        """Copy what the agent publishes to what pods may be given, as a kubelet does at its next sync."""
        selected = {"fieldSelector": f"metadata.name={self.name}"}
        async for _, node in self._api.watch(gpunodes.NODES, parameters=selected):
            changes = allocatable_changes(node)
            if changes:
                with contextlib.suppress(rest.NotFoundError):
                    await self._api.patch(
                        f"{gpunodes.NODES}/{self.name}/status", {"status": {"allocatable": changes}}
                    )


def allocatable_changes(node: Object) -> dict[str, str]:
    """Return what allocatable lacks of the platform's resources in capacity."""
    status = node.get("status", {})
    capacity, allocatable = status.get("capacity", {}), status.get("allocatable", {})
    return {
        name: value
        for name, value in capacity.items()
        if name.startswith(f"{names.GROUP}/") and allocatable.get(name) != value
    }


def finished(pod: Object) -> bool:
    """Whether a pod has ended before we saw it."""
    return pod.get("status", {}).get("phase") in ("Succeeded", "Failed")


def node_object(name: str, *, labels: dict[str, str]) -> Object:
    """Return the Node as a kubelet registers it: without what an agent publishes."""
    made = gpunodes.node(name, gpunodes.NodeShape(labels=labels), now=datetime.datetime.now(datetime.UTC))
    for amounts in (made["status"]["capacity"], made["status"]["allocatable"]):
        for resource in (names.MEMORY_RESOURCE, names.COMPUTE_RESOURCE):
            amounts.pop(resource, None)
    return made
