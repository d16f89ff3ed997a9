"""The whole platform with one real node: kubelet, containerd, runc, and the agent with the kernel's mounts.

async with RealBed(gpus=1) as bed:
    await bed.kubelet.killed()
"""

import asyncio
from pathlib import Path

from vgpu_e2e import gpunodes, rest
from vgpu_e2e.localnode import bed
from vgpu_e2e.realnode import images, kubelet, runtime

NODE = "real-0"
READY_SECONDS = 120.0


class RealBed(bed.LocalBed):
    """A Bed whose one node runs containers."""

    node_name = NODE
    mounting = ()

    async def _start_node(self) -> None:
        directory = self.plane.directory
        self._closing.callback(runtime.unmount_below, directory)
        self.runtime = runtime.Runtime(
            directory / "containerd",
            gpus=self.machine.config.parent,
            log=directory / "logs" / "containerd.log",
        )
        self._closing.push_async_callback(self.runtime.stop)
        await self.runtime.start()
        image = await asyncio.to_thread(
            images.server, Path(runtime.program("busybox")), self.machine.driver, self.machine.shim
        )
        await asyncio.to_thread(self.runtime.load, image)
        self.kubelet_process = kubelet.make(
            self.plane,
            self.node_name,
            root=self.kubelet_root,
            runtime_socket=self.runtime.socket,
            labels={gpunodes.GPU_PRODUCT_LABEL: self._model.name},
        )
        self._closing.push_async_callback(self.kubelet_process.killed)
        self.kubelet_process.start()
        await self.kubelet_process.ready(
            self._node_ready, awaited="a Ready node", timeout_seconds=READY_SECONDS
        )
        self.nodes = [self.node_name]

    async def _start_agent(self) -> None:
        await super()._start_agent()
        self.machine.state.chmod(0o666)  # as /dev/nvidia* is: containers without root use it too

    async def _node_ready(self) -> bool:
        try:
            found = await self.api.get(f"{gpunodes.NODES}/{self.node_name}")
        except rest.NotFoundError:
            return False
        conditions = {each["type"]: each["status"] for each in found["status"].get("conditions", [])}
        return conditions.get("Ready") == "True" and not found["spec"].get("taints")

    @property
    def server_image(self) -> rest.Object:
        """The image, and the variables by which a container finds the simulated GPUs."""
        environment = [
            {"name": "VGPU_SIM_STATE", "value": f"{runtime.GPUS}/{self.machine.state.name}"},
            {"name": "VGPU_SIM_CONFIG", "value": f"{runtime.GPUS}/{self.machine.config.name}"},
        ]
        return {"image": images.SERVER, "imagePullPolicy": "Never", "env": environment}

    @property
    def python(self) -> str:
        """The interpreter in the image."""
        return images.python()

    def output(self, pod: rest.Object, container: str) -> str:
        """Return what a container has printed, all its starts together."""
        about = pod["metadata"]
        logs = self.kubelet_root.parent / "pod-logs"
        directory = logs / f"{about['namespace']}_{about['name']}_{about['uid']}" / container
        lines = [line for log in sorted(directory.glob("*.log")) for line in log.read_text().splitlines()]
        return "\n".join(line.split(" ", 3)[3] for line in lines if line.count(" ") >= 3)
