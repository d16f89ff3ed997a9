"""What the agent sees of the cluster: its own Node, its own VGPUNode, and the pools.

Nothing is decided or written here. The ledger is watched with a field selector, so a node of thousands costs
its agent no more than a node alone.
"""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from vgpu import values
from vgpu.api import node, pool
from vgpu_kube.informer import Informer
from vgpu_kube.objects import Object
from vgpu_kube.protocol import Kube
from vgpu_kube.resources import NODES, VGPU_NODES, VGPU_POOLS


@dataclass(frozen=True, slots=True)
class Ledger:
    """A VGPUNode as it is written and as it is meant."""

    raw: Object
    node: values.Node


class View:
    """The agent's caches; they follow the cluster inside the ``async with``."""

    def __init__(self, kube: Kube, node_name: str) -> None:
        own = f"metadata.name={node_name}"
        self.node_name = node_name
        self._nodes = Informer(kube, NODES, fields=own)
        self._ledgers = Informer(kube, VGPU_NODES, fields=own, decode=_ledger)
        self._pools = Informer(kube, VGPU_POOLS, decode=pool.to_values)
        self._stack = AsyncExitStack()

    @property
    def node(self) -> Object | None:
        """The Kubernetes Node, None while there is none."""
        return self._nodes.items.get((None, self.node_name))

    @property
    def ledger(self) -> Ledger | None:
        """The VGPUNode, None while there is none."""
        return self._ledgers.items.get((None, self.node_name))

    @property
    def pools(self) -> tuple[values.Pool, ...]:
        """The pools known so far."""
        return tuple(self._pools.items.values())

    @property
    def lag(self) -> str | None:
        """What is not known yet, None once the agent can act."""
        if not self._ledgers.has_synced or not self._nodes.has_synced:
            return "the node and its ledger have not been listed yet"
        return None

    def slice_of(self, pod_uid: str) -> values.Slice | None:
        """The slice a pod lives in, None while the ledger has none."""
        if self.ledger is None:
            return None
        for slice_ in self.ledger.node.slices.values():
            if any(pod.uid == pod_uid for pod in slice_.pods):
                return slice_
        return None

    def observe_ledger(self, raw: Object) -> None:
        """Takes the answer of an own write."""
        self._ledgers.observe(raw)

    def observe_node(self, raw: Object) -> None:
        """Takes the answer of an own write."""
        self._nodes.observe(raw)

    def on_ledger(self, changed: Callable[[], None]) -> None:
        """Calls back whenever the VGPUNode is another; the first time at once, where there is one."""
        self._ledgers.subscribe(lambda _: changed())

    def on_node(self, changed: Callable[[], None]) -> None:
        """Calls back whenever the Node or a pool is another."""
        self._nodes.subscribe(lambda _: changed())
        self._pools.subscribe(lambda _: changed())

    async def synced(self) -> None:
        """Returns once everything has been listed; pools say how much of a device slices may hold."""
        await asyncio.gather(self._nodes.synced(), self._ledgers.synced(), self._pools.synced())

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self._nodes)
        await self._stack.enter_async_context(self._ledgers)
        await self._stack.enter_async_context(self._pools)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.__aexit__(kind, error, trace)


def _ledger(raw: Object) -> Ledger:
    return Ledger(raw, node.to_values(raw))
