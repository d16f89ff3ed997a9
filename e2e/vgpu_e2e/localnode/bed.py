"""The whole platform with a node that really runs pods: production agent and shim on simulated GPUs.

async with LocalBed(gpus=1) as bed:
    await bed.agent.restart()
"""

import os
import sys
from pathlib import Path

from vgpu.api import names
from vgpu_e2e import controlplane, gpunodes, kubeconfig, manifests, objects, platform, probes, process
from vgpu_e2e.localnode import csi, machine, node
from vgpu_e2e.platform import CHART_FILES, NAMESPACE, REPOSITORY
from vgpu_e2e.rest import Object

NODE = "local-0"
ROOMS = ("core", "shim", "agent")
STAND_IN_IMAGE = "docker.io/local/pause:1"
TOKEN_SECONDS = 86_400


class LocalBed(platform.Bed):
    """A Bed whose one node is this machine."""

    node_name = NODE
    mounting: tuple[str, ...] = ("--links",)

    def __init__(
        self,
        *,
        gpus: int = 1,
        model: gpunodes.GPUModel = gpunodes.A100,
        driver_options: str = "",
        publish_wait_seconds: float = 100.0,
        **settings: object,
    ) -> None:
        super().__init__(nodes=0, **settings)  # type: ignore[arg-type]  # Bed's own keywords
        self._gpus = gpus
        self._model = model
        self._driver_options = driver_options
        self._publish_wait_seconds = publish_wait_seconds

    @property
    def server_image(self) -> Object:
        """What a container that runs a program needs beside its command; here programs are this machine's."""
        return {"image": objects.IMAGE}

    @property
    def python(self) -> str:
        """The interpreter as containers call it."""
        return sys.executable

    def output(self, pod: Object, container: str) -> str:
        """Return what a container has printed, all its starts together."""
        log = self.kubelet_root / "logs" / f"{pod['metadata']['uid']}.{container}.log"
        return log.read_text() if log.exists() else ""

    async def _populate(self) -> None:
        chart = manifests.load(CHART_FILES)
        self._webhooks = [each for each in chart if manifests.is_webhook(each)]
        await self.plane.apply([each for each in chart if not manifests.is_webhook(each)])
        self.machine = machine.make(
            self.plane.directory / "machine", gpus=self._gpus, model=self._model, options=self._driver_options
        )
        self.kubelet_root = self.plane.directory / "kubelet"
        self.agent_root = self.plane.directory / "agent"
        await self._start_node()
        await self._start_agent()

    async def _start_node(self) -> None:
        labels = {gpunodes.GPU_PRODUCT_LABEL: self._model.name}
        await self.api.create(gpunodes.NODES, node.node_object(self.node_name, labels=labels))
        socket = self.kubelet_root / "plugins" / names.CSI_DRIVER / "csi.sock"
        plugin = await self._closing.enter_async_context(csi.Plugin(socket))
        self.node = await self._closing.enter_async_context(
            node.LocalNode(
                self.api, self.node_name, gpus=self.machine, plugin=plugin, directory=self.kubelet_root
            )
        )
        self.nodes = [self.node_name]

    async def _start_agent(self) -> None:
        identity = await agent_identity(self.plane, self.node_name)

        def made(ports: list[int]) -> process.Process:
            command = [
                sys.executable,
                "-m",
                "vgpu_agent",
                *controlplane.flags(self._options(identity, ports)),
            ]
            command += self.mounting
            return self.plane.child("vgpu-agent", command, environment=self._agent_environment())

        started, ports = await process.start_on_free_ports(
            made,
            lambda ports: probes.answers(f"http://127.0.0.1:{ports[0]}/readyz"),
            count=1,
            awaited="GET /readyz",
        )
        self._closing.push_async_callback(started.stop)
        self.agent = platform.Service(process=started, url=f"http://127.0.0.1:{ports[0]}")

    def _options(self, identity: Path, ports: list[int]) -> dict[str, object]:
        return {
            "node": self.node_name,
            "kubeconfig": identity,
            "log-level": self._log_level,
            "root": self.agent_root,
            "kubelet-root": self.kubelet_root,
            "nvml-library": self.machine.nvml,
            "publish-wait-seconds": self._publish_wait_seconds,
            "host": "127.0.0.1",
            "port": ports[0],
        }

    def _agent_environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
            "HOME": str(self.plane.directory),
            "PYTHONPATH": os.pathsep.join(str(REPOSITORY / room) for room in ROOMS),
            "PYTHONUNBUFFERED": "1",
            **self.machine.environment,
        }


async def agent_identity(plane: controlplane.ControlPlane, node_name: str) -> Path:
    """Write a kubeconfig for a node's agent: the token of a pod on that node, as policies want it."""
    pods = f"/api/v1/namespaces/{NAMESPACE}/pods"
    name = f"vgpu-agent-{node_name}"
    pod = await plane.api.create(pods, _stand_in(name, node_name))
    request = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {
            "expirationSeconds": TOKEN_SECONDS,
            "boundObjectRef": {
                "apiVersion": "v1",
                "kind": "Pod",
                "name": name,
                "uid": pod["metadata"]["uid"],
            },
        },
    }
    accounts = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/vgpu-agent/token"
    answer = await plane.api.create(accounts, request)
    return kubeconfig.with_token(
        plane.directory / "kubeconfigs" / f"{name}.yaml",
        url=plane.url,
        authority=plane.authority.certificate,
        token=answer["status"]["token"],
    )


def _stand_in(name: str, node_name: str) -> dict[str, object]:
    """Return the pod that the agent's DaemonSet would have on the node; the node does not run it."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": {node.STAND_IN: "true"}},
        "spec": {
            "nodeName": node_name,
            "serviceAccountName": "vgpu-agent",
            "containers": [{"name": "agent", "image": STAND_IN_IMAGE, "imagePullPolicy": "Never"}],
            "tolerations": [{"operator": "Exists"}],
        },
    }
