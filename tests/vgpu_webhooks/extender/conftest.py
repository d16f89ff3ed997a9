"""A stage for the extender: a cluster in memory, time that passes on command, and processes that can die."""

import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, cast

import orjson
import prometheus_client as prometheus
import pytest

from vgpu.api import names
from vgpu.api import node as node_api
from vgpu_kube import errors, protocol, resources
from vgpu_kube.objects import Object
from vgpu_kube.testing import Cluster
from vgpu_kube.testing.clock import Clock, settle
from vgpu_webhooks.extender import extender, wire

GPU_MEMORY_GIB = 80


class Dead(Exception):  # noqa: N818 - an end, no mistake
    """The process was killed at this point."""


class Wire:
    """One process's connection; the process can be killed before or after any of its writes."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.dead = False
        self.die_at: tuple[str, str] | None = None  # verb, "before" or "after"
        self.writes: list[str] = []

    def __getattr__(self, verb: str) -> Any:
        method = getattr(self._cluster, verb)
        if not inspect.iscoroutinefunction(method):
            return method  # what is read piece by piece

        async def request(resource: Any, *arguments: Any, **options: Any) -> Any:
            self._pass(verb, resource, "before")
            answer = await method(resource, *arguments, **options)
            self._pass(verb, resource, "after")
            if verb not in {"get", "list"} and resource != resources.LEASES:
                self.writes.append(verb)
            return answer

        return request

    def _pass(self, verb: str, resource: object, moment: str) -> None:
        if self.dead:
            raise errors.Unavailable(0, "Dead", "this process is dead")
        if resource != resources.LEASES and self.die_at == (verb, moment):
            self.dead = True
            raise Dead


@dataclass
class Process:
    """A running extender and its connection."""

    served: extender.Extender
    wire: Wire

    async def filter(self, pod: Object, offered: list[str]) -> Any:
        body = orjson.dumps({"Pod": pod, "Nodes": None, "NodeNames": offered})
        return orjson.loads(await self.served.answers.filter(wire.filter_args(body)))

    async def bind(self, pod: Object, node: str) -> str:
        metadata = pod["metadata"]
        args = wire.BindingArgs(
            namespace=metadata["namespace"], name=metadata["name"], uid=metadata["uid"], node=node
        )
        answer: str = orjson.loads(await self.served.answers.bind(args))["Error"]
        return answer

    async def place(self, pod: Object, offered: list[str]) -> str:
        """What kube-scheduler does with a pod: Filter, then Bind; the node."""
        answer = await self.filter(pod, offered)
        assert answer["Error"] == ""
        [node] = answer["NodeNames"]
        assert await self.bind(pod, node) == ""
        return str(node)


@dataclass
class Stage:
    """The cluster of a test, what is put into it, and what must always hold of it."""

    cluster: Cluster
    clock: Clock
    processes: AsyncExitStack
    started: int = field(default=0)
    death: type[Exception] = Dead

    def add_nodes(self, count: int, *, gpus: int = 1) -> list[str]:
        found = [f"gpu-{index}" for index in range(count)]
        for name in found:
            devices = [
                {
                    "uuid": f"GPU-{name}-{index}",
                    "index": index,
                    "model": "A100",
                    "memory": f"{GPU_MEMORY_GIB}Gi",
                }
                for index in range(gpus)
            ]
            self.cluster.add(
                resources.VGPU_NODES,
                {
                    "metadata": {"name": name, "labels": {"gpu": "yes"}},
                    "spec": {"revision": 0, "slices": {}, "cordonedDevices": []},
                    "status": {"devices": devices},
                },
            )
        return found

    def add_pool(self, name: str = "pool", **spec: object) -> None:
        self.cluster.add(
            resources.VGPU_POOLS,
            {"metadata": {"name": name}, "spec": {"nodeSelector": {"matchLabels": {"gpu": "yes"}}, **spec}},
        )

    def add_claim(
        self, name: str = "claim", *, memory: str = "40Gi", namespace: str = "team", **spec: object
    ) -> Object:
        body = {
            "metadata": {"name": name, "namespace": namespace},
            "spec": {
                "poolName": "pool",
                "resources": {"requests": {"memory": memory, "computePercent": 25}},
                **spec,
            },
        }
        return self.cluster.add(resources.VGPU_CLAIMS, body)

    def add_pod(self, name: str, *, claim: str = "claim", namespace: str = "team", **spec: object) -> Object:
        return self.cluster.add(
            resources.PODS,
            {
                "metadata": {"name": name, "namespace": namespace, "labels": {names.CLAIM_LABEL: claim}},
                "spec": {"schedulerName": names.SCHEDULER_NAME, **spec},
                "status": {"phase": "Pending"},
            },
        )

    def queue_pod(
        self, name: str, *, claim: str = "claim", namespace: str = "team", priority: int = 0
    ) -> Object:
        """A pod behind the gate, as admission leaves it."""
        gates = [{"name": names.QUEUE_GATE}]
        return self.add_pod(name, claim=claim, namespace=namespace, priority=priority, schedulingGates=gates)

    def nominated(self) -> dict[str, str]:
        """The node of each pod whose gate is open and that has been nominated for one."""
        return {
            raw["metadata"]["name"]: raw["status"]["nominatedNodeName"]
            for raw in self.cluster.objects(resources.PODS)
            if "nominatedNodeName" in raw["status"] and not raw["spec"].get("schedulingGates")
        }

    def told(self, name: str) -> list[str]:
        """The reasons of the Events on a pod."""
        events = self.cluster.objects(resources.EVENTS)
        return [each["reason"] for each in events if each["regarding"]["name"] == name]

    async def turn_down(self, name: str) -> None:
        """kube-scheduler finds no node for a pod by its own rules."""
        condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
        await self.cluster.patch_merge(
            resources.PODS, name, {"status": {"conditions": [condition]}}, "team", subresource="status"
        )

    def pod(self, name: str, namespace: str = "team") -> Object:
        [found] = [
            each
            for each in self.cluster.objects(resources.PODS, namespace)
            if each["metadata"]["name"] == name
        ]
        return found

    def ledger(self) -> dict[str, tuple[str, Object]]:
        """Every slice by id: its node and its entry."""
        return {
            id_: (raw["metadata"]["name"], entry)
            for raw in self.cluster.objects(resources.VGPU_NODES)
            for id_, entry in raw["spec"].get("slices", {}).items()
        }

    async def finish(self, name: str) -> None:
        await self.cluster.patch_merge(
            resources.PODS, name, {"status": {"phase": "Succeeded"}}, "team", subresource="status"
        )

    async def edit_node(self, name: str, edit: Callable[[Object], None]) -> None:
        """Another process writes the ledger."""
        raw = await self.cluster.get(resources.VGPU_NODES, name)
        edit(raw)
        spec = {**raw["spec"], "revision": raw["spec"]["revision"] + 1}
        await self.cluster.patch_merge(resources.VGPU_NODES, name, {"spec": spec})

    async def start(
        self,
        identity: str | None = None,
        *,
        registry: prometheus.CollectorRegistry | None = None,
        patience_seconds: float = 0.0,
    ) -> Process:
        """An extender, running as far as it gets without time passing."""
        self.started += 1
        connection = Wire(self.cluster)
        settings = extender.Settings(
            identity=identity or f"extender-{self.started}",
            clock=self.clock.monotonic,
            now=self.clock.now,
            sleep=self.clock.sleep,
            patience_seconds=patience_seconds,
        )
        served = extender.Extender(
            cast(protocol.Kube, connection), settings, registry=registry or prometheus.CollectorRegistry()
        )
        await self.processes.enter_async_context(served.running())
        await settle()
        return Process(served, connection)

    async def succeed(self, dead: Process) -> Process:
        """A new process takes over once the dead one's Lease has run out."""
        dead.wire.dead = True
        process = await self.start()
        await self.clock.advance(dead.served.settings.lease_seconds + 2)
        assert process.served.lead.active
        return process

    def check_invariants(self) -> None:
        """No device is oversold, no pod is bound without its slice, none is counted twice."""
        holders: dict[str, list[str]] = {}
        for raw in self.cluster.objects(resources.VGPU_NODES):
            node = node_api.to_values(raw)
            for device in node.devices:
                held = [each for each in node.slices.values() if device.uuid in each.device_uuids]
                assert sum(each.held_memory_bytes for each in held) <= device.memory_bytes
                assert sum(each.allocated.compute_percent for each in held) <= 100
            for slice_ in node.slices.values():
                for pod in slice_.pods:
                    holders.setdefault(pod.uid, []).append(node.name)
        for raw in self.cluster.objects(resources.PODS):
            node_name = raw["spec"].get("nodeName")
            if node_name and raw["status"]["phase"] not in {"Succeeded", "Failed"}:
                assert holders.get(raw["metadata"]["uid"]) == [node_name]
        assert all(len(nodes) == 1 for nodes in holders.values())


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with AsyncExitStack() as processes:
        clock = Clock()
        yield Stage(Cluster(now=clock.now), clock, processes)
