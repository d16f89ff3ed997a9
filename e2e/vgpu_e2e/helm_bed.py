"""A cluster with one real node and nothing of ours in it, for the chart to be installed on.

async with BareCluster() as cluster:
    await cluster.helm("install", "vgpu", str(helm.CHART), ...)
"""

import asyncio
import contextlib
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import yaml

from vgpu_e2e import controlplane, gpunodes, helm, helm_image, helm_services, rest, scheduler
from vgpu_e2e.localnode import machine
from vgpu_e2e.platform import NAMESPACE, REPOSITORY
from vgpu_e2e.realnode import images, kubelet, runtime
from vgpu_e2e.rest import Object

NODE = "real-0"
TAG = "1"
READY_SECONDS = 120.0
LAST_WORDS = 2000
LABELS = {gpunodes.GPU_PRODUCT_LABEL: gpunodes.A100.name, "nvidia.com/gpu.present": "true"}


class BareCluster:
    """Control plane with its own scheduler, containerd, kubelet and images, ready inside the `async with`.

    Platforms are the tags of our image, and the copy of the repository that each is made of.
    """

    def __init__(self, *, gpus: int = 1, platforms: Mapping[str, Path] | None = None) -> None:
        self._gpus = gpus
        self._platforms = platforms or {TAG: REPOSITORY}
        self.plane = controlplane.ControlPlane()
        self._closing = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        try:
            await self._closing.enter_async_context(self.plane)
            self.machine = machine.make(self.plane.directory / "machine", gpus=self._gpus)
            self.kubelet_root = self.plane.directory / "kubelet"
            self.state_root = self.plane.directory / "agent"
            stock = scheduler.Scheduler(self.plane, None, profiles=[scheduler.STOCK_PROFILE])
            await self._closing.enter_async_context(stock)
            await self._start_runtime()
            await self._start_kubelet()
            await self._closing.enter_async_context(helm_services.api_server_for_pods(self.plane.url))
        except BaseException:  # cancelled or failed, what was started is stopped, and it goes on up
            self.plane.keep = True
            await self._closing.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._closing.aclose()

    @property
    def api(self) -> rest.API:
        """The API server as its admin."""
        return self.plane.api

    @property
    def values(self) -> Mapping[str, object]:
        """What the chart has to be told about this cluster."""
        return {
            "image.repository": helm_image.REPOSITORY_NAME,
            "image.tag": TAG,
            "scheduler.kubeScheduler.image": helm_image.KUBE_SCHEDULER,
            "agent.kubeletRoot": str(self.kubelet_root),
            "agent.stateRoot": str(self.state_root),
        }

    async def helm(self, *arguments: str, values: Mapping[str, object] | None = None) -> str:
        """Return what helm prints for this cluster and our namespace; a failure tells what waits there."""
        settings = helm.flags({**self.values, **values}) if values is not None else []
        where = ["--namespace", NAMESPACE]
        try:
            return await asyncio.to_thread(
                helm.run, *arguments, *where, *settings, kubeconfig=self.plane.admin, timeout_seconds=300
            )
        except helm.HelmError as refusal:
            raise helm.HelmError("\n".join([str(refusal), *await self._waiting()])) from None

    async def everything(self) -> set[str]:
        """Name every object of every kind that can be listed, but Events: kind, namespace, name."""
        listable = (await self.plane.kubectl("api-resources", "--verbs=list", "-o", "name")).split()
        kinds = ",".join(each for each in listable if not each.startswith("events"))
        line = "{{.kind}} {{or .metadata.namespace `-`}} {{.metadata.name}}"
        template = f"{{{{range .items}}}}{line}{{{{println}}}}{{{{end}}}}"
        listed = await self.plane.kubectl("get", kinds, "-A", "-o", f"go-template={template}")
        return set(listed.splitlines())

    async def pods(self, namespace: str = NAMESPACE) -> list[Object]:
        """The pods of a namespace."""
        found, _ = await self.api.list(f"/api/v1/namespaces/{namespace}/pods")
        return found

    def output(self, pod: Object, container: str) -> str:
        """Return what a container has printed."""
        about = pod["metadata"]
        logs = self.plane.directory / "pod-logs"
        directory = logs / f"{about['namespace']}_{about['name']}_{about['uid']}" / container
        lines = [line for log in sorted(directory.glob("*.log")) for line in log.read_text().splitlines()]
        return "\n".join(line.split(" ", 3)[3] for line in lines if line.count(" ") >= 3)

    async def _waiting(self) -> list[str]:
        """What the containers that are not ready have said last."""
        return [
            f"{pod['metadata']['name']} {status['name']}: {self.output(pod, status['name'])[-LAST_WORDS:]}"
            for pod in await self.pods()
            for status in pod["status"].get("containerStatuses", [])
            if not status["ready"]
        ]

    async def _start_runtime(self) -> None:
        directory = self.plane.directory
        self._closing.callback(runtime.unmount_below, directory)
        for shared in (self.kubelet_root, self.state_root):
            _share(shared)
        loaded = await asyncio.to_thread(
            self._images
        )  # made before the machine is taken: others may wait for it
        self.runtime = runtime.Runtime(
            directory / "containerd",
            gpus=self.machine.config.parent,
            log=directory / "logs" / "containerd.log",
        )
        self._closing.push_async_callback(self.runtime.stop)
        await self.runtime.start()
        for image in loaded:
            await asyncio.to_thread(self.runtime.load, image)

    def _images(self) -> list[bytes]:
        busybox = Path(runtime.program("busybox"))
        return [
            images.server(busybox, self.machine.driver, self.machine.shim),
            helm_image.kube_scheduler(self.plane.binaries / "kube-scheduler"),
            *(
                helm_image.platform(self.machine, tag=tag, source=source)
                for tag, source in self._platforms.items()
            ),
        ]

    async def _start_kubelet(self) -> None:
        started = kubelet.make(
            self.plane, NODE, root=self.kubelet_root, runtime_socket=self.runtime.socket, labels=LABELS
        )
        configuration = self.kubelet_root / "config.yaml"
        settings = yaml.safe_load(configuration.read_text()) | {"clusterDNS": [helm_services.ADDRESS]}
        configuration.write_text(yaml.safe_dump(settings))
        self._closing.push_async_callback(started.killed)
        started.start()
        await started.ready(self._node_ready, awaited="a Ready node", timeout_seconds=READY_SECONDS)

    async def _node_ready(self) -> bool:
        try:
            found = await self.api.get(f"{gpunodes.NODES}/{NODE}")
        except rest.NotFoundError:
            return False
        conditions = {each["type"]: each["status"] for each in found["status"].get("conditions", [])}
        return conditions.get("Ready") == "True" and not found["spec"].get("taints")


def _share(directory: Path) -> None:
    """Make a directory a mount whose mounts are seen everywhere, as a node's kubelet root and /run are."""
    directory.mkdir(parents=True)
    subprocess.run(["mount", "--bind", directory, directory], check=True)
    subprocess.run(["mount", "--make-rshared", directory], check=True)
