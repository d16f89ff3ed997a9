"""Hand-made nodes by the thousand: a Node and a VGPUNode each, published as the node agent would."""

import asyncio
import dataclasses
import datetime
import uuid
from collections.abc import Iterator

from vgpu.api import names
from vgpu_e2e import background, rest
from vgpu_e2e.rest import Object

GIB = 2**30
MIB = 2**20
PARALLEL = 32
NODES = "/api/v1/nodes"
VGPU_NODES = f"/apis/{names.API_VERSION}/{names.NODE_PLURAL}"
GPU_PRODUCT_LABEL = "nvidia.com/gpu.product"
LABEL = "e2e.vgpu.dev/hand-made"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class GPUModel:
    """A GPU as its vendor names it, and its memory in bytes."""

    name: str
    memory_bytes: int
    vendor: str = "nvidia"


A100 = GPUModel(name="NVIDIA-A100-SXM4-80GB", memory_bytes=80 * GIB)
H100 = GPUModel(name="NVIDIA-H100-80GB-HBM3", memory_bytes=80 * GIB)
T4 = GPUModel(name="Tesla-T4", memory_bytes=16 * GIB)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class NodeShape:
    """What each of a group of nodes has, and how many percent of its GPUs may be promised.

    NVLink joins the GPUs in groups of ``joined``, in the order of their indices.
    """

    gpus: int = 2
    joined: int = 1
    model: GPUModel = A100
    cpus: int = 64
    memory_bytes: int = 512 * GIB
    pods: int = 250
    overcommit_memory_percent: int = 100
    overcommit_compute_percent: int = 200
    labels: dict[str, str] = dataclasses.field(default_factory=dict)


async def make_nodes(
    api: rest.API, count: int, *, shape: NodeShape | None = None, prefix: str = "gpu", now: datetime.datetime
) -> list[str]:
    """Create Node and VGPUNode prefix-0 … prefix-(count-1), a few dozen at a time; return their names."""
    chosen = shape if shape is not None else NodeShape()
    created = [f"{prefix}-{index}" for index in range(count)]
    turns = asyncio.Semaphore(PARALLEL)
    await background.together(_make(api, name, chosen, now=now, turns=turns) for name in created)
    return created


async def delete_node(api: rest.API, name: str) -> None:
    """Delete a Node; its VGPUNode goes with it, collected by its owner reference."""
    await api.delete(f"{NODES}/{name}")


async def _make(
    api: rest.API, name: str, shape: NodeShape, *, now: datetime.datetime, turns: asyncio.Semaphore
) -> None:
    async with turns:
        owner = await api.create(NODES, node(name, shape, now=now))
        await api.create(VGPU_NODES, vgpu_node(owner))
        status = vgpu_node_status(name, shape, now=now)
        await api.patch(f"{VGPU_NODES}/{name}/status", {"status": status})


def node(name: str, shape: NodeShape, *, now: datetime.datetime) -> Object:
    """Return a Node that is Ready as soon as it is created."""
    resources = {
        "cpu": str(shape.cpus),
        "memory": str(shape.memory_bytes),
        "ephemeral-storage": str(1024 * GIB),
        "pods": str(shape.pods),
        names.MEMORY_RESOURCE: str(promised_memory_mib(shape)),
        names.COMPUTE_RESOURCE: str(shape.gpus * shape.overcommit_compute_percent),
        # Ignored when pods are fitted, but kube-scheduler asks for it when it judges whether a new node is
        # worth another try of a pod that waits.
        names.SLICE_RESOURCE: str(shape.pods),
    }
    labels = {
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        "beta.kubernetes.io/os": "linux",  # the node controller would add these two, node by node
        "beta.kubernetes.io/arch": "amd64",
        GPU_PRODUCT_LABEL: shape.model.name,
        LABEL: "true",
    }
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels | shape.labels},
        "status": {
            "capacity": resources,
            "allocatable": resources,
            "conditions": list(_conditions(now)),
            "nodeInfo": _NODE_INFO,
        },
    }


def promised_memory_mib(shape: NodeShape) -> int:
    """Return the MiB of GPU memory that the node offers to the scheduler, overcommit included."""
    return shape.gpus * shape.model.memory_bytes * shape.overcommit_memory_percent // 100 // MIB


def vgpu_node(owner: Object) -> Object:
    """Return an empty ledger that carries the labels of its Node and goes with it."""
    meta = owner["metadata"]
    reference = {"apiVersion": "v1", "kind": "Node", "name": meta["name"], "uid": meta["uid"]}
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.NODE_KIND,
        "metadata": {
            "name": meta["name"],
            "labels": meta.get("labels", {}),
            "ownerReferences": [reference],
        },
        "spec": {"revision": 0},
    }


def vgpu_node_status(name: str, shape: NodeShape, *, now: datetime.datetime) -> Object:
    """Return the facts that the node's agent would publish: its healthy devices and its heartbeat."""
    devices = [_device(name, index, shape) for index in range(shape.gpus)]
    return {"devices": devices, "heartbeatTime": timestamp(now)}


def device_uuid(node_name: str, index: int) -> str:
    """Return the UUID of a device, the same in every run."""
    return f"GPU-{uuid.uuid5(uuid.NAMESPACE_DNS, f'{index}.{node_name}.e2e.vgpu.dev')}"


def timestamp(moment: datetime.datetime) -> str:
    """Return an RFC 3339 time in whole seconds, as Kubernetes writes them."""
    return moment.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _device(name: str, index: int, shape: NodeShape) -> Object:
    return {
        "uuid": device_uuid(name, index),
        "index": index,
        "vendor": shape.model.vendor,
        "model": shape.model.name,
        "memory": str(shape.model.memory_bytes),
        "numaNode": index * 2 // max(shape.gpus, 2),  # the first half on socket 0, the rest on socket 1
        "healthy": True,
        "links": list(_links(name, index, shape)),
        "isolation": {"memory": "Hard", "compute": "TimeShare", "resize": "Live"},
    }


def _links(name: str, index: int, shape: NodeShape) -> Iterator[Object]:
    first = index // shape.joined * shape.joined
    for other in range(first, min(first + shape.joined, shape.gpus)):
        if other != index:
            yield {"uuid": device_uuid(name, other), "type": "NVLink", "laneCount": 4}


def _conditions(now: datetime.datetime) -> Iterator[Object]:
    for kind in ("MemoryPressure", "DiskPressure", "PIDPressure"):
        yield _condition(kind, "False", now)
    yield _condition("Ready", "True", now)


def _condition(kind: str, status: str, now: datetime.datetime) -> Object:
    moment = timestamp(now)
    return {
        "type": kind,
        "status": status,
        "reason": "HandMade",
        "message": "set by the test bed",
        "lastHeartbeatTime": moment,
        "lastTransitionTime": moment,
    }


_NODE_INFO = {
    "architecture": "amd64",
    "operatingSystem": "linux",
    "osImage": "none",
    "kernelVersion": "none",
    "kubeletVersion": "v1.36.4",
    "kubeProxyVersion": "",
    "containerRuntimeVersion": "none://0",
    "machineID": "",
    "systemUUID": "",
    "bootID": "",
}
