"""What admission knows of the cluster: pools, claims and devices, followed by watches.

A watch is a moment behind, so what is not found in it is asked for once. Nothing is decided here.
"""

from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from vgpu import values
from vgpu.api import claim as claim_api
from vgpu.api import node as node_api
from vgpu.api import pool as pool_api
from vgpu_kube import errors, informer, resources
from vgpu_kube.client import Kube
from vgpu_kube.objects import Object
from vgpu_webhooks.admission import fit

MISS_TIMEOUT_SECONDS = 2.0
"""For the one question after a miss; the API server gives a webhook five seconds in all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownClaim:
    """A claim, and whether it is on its way out."""

    claim: values.Claim
    deleting: bool


class View(Protocol):
    """What the webhooks ask about the cluster; raises errors.KubeError where it cannot be known."""

    async def claim(self, namespace: str, name: str) -> KnownClaim | None:
        """The claim of this name."""
        ...

    async def pool(self, name: str) -> values.Pool | None:
        """The pool of this name."""
        ...

    async def default_pool(self) -> values.Pool | None:
        """The pool for claims that name none."""
        ...

    def pools(self) -> Iterable[values.Pool]:
        """All pools."""
        ...

    def hardware(self, pool: values.Pool) -> frozenset[fit.Shape]:
        """The kinds of nodes that a pool has."""
        ...

    def unready(self) -> str | None:
        """Why answers cannot be trusted yet; None where they can."""
        ...


class ClusterView:
    """The View of a real cluster; made by :func:`follow`."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube
        self._pools = informer.Informer(kube, resources.VGPU_POOLS, decode=pool_api.to_values)
        self._claims = informer.Informer(kube, resources.VGPU_CLAIMS, decode=_known)
        self._nodes = informer.Informer(kube, resources.VGPU_NODES, decode=_devices_of)
        self._hardware: dict[str, tuple[values.Pool, frozenset[fit.Shape]]] = {}
        self._nodes.subscribe(self._forget_hardware)

    async def claim(self, namespace: str, name: str) -> KnownClaim | None:
        """The claim of this name."""
        if known := self._claims.items.get((namespace, name)):
            return known
        raw = await self._asked(resources.VGPU_CLAIMS, name, namespace)
        return None if raw is None else _known(raw)

    async def pool(self, name: str) -> values.Pool | None:
        """The pool of this name."""
        if known := self._pools.items.get((None, name)):
            return known
        raw = await self._asked(resources.VGPU_POOLS, name, None)
        return None if raw is None else pool_api.to_values(raw)

    async def default_pool(self) -> values.Pool | None:
        """The pool for claims that name none; the first by name, should there be several."""
        if known := _first_default(self._pools.items.values()):
            return known
        listed = await self._kube.list(resources.VGPU_POOLS, timeout=MISS_TIMEOUT_SECONDS)
        return _first_default(pool_api.to_values(raw) for raw in listed.items)

    def pools(self) -> Iterable[values.Pool]:
        """All pools."""
        return self._pools.items.values()

    def hardware(self, pool: values.Pool) -> frozenset[fit.Shape]:
        """The kinds of nodes that a pool has, worked out once until a node or its devices change."""
        known = self._hardware.get(pool.name)
        if known is None or known[0] != pool:
            known = self._hardware[pool.name] = pool, fit.shapes(pool, self._nodes.items.values())
        return known[1]

    def unready(self) -> str | None:
        """Why answers cannot be trusted yet."""
        kinds: dict[str, informer.Informer[Any]] = {
            "pools": self._pools,
            "claims": self._claims,
            "nodes": self._nodes,
        }
        missing = [name for name, each in kinds.items() if not each.has_synced]
        return f"expected the lists of {', '.join(missing)}, found none yet; wait" if missing else None

    async def _asked(self, resource: resources.Resource, name: str, namespace: str | None) -> Object | None:
        try:
            return await self._kube.get(resource, name, namespace, timeout=MISS_TIMEOUT_SECONDS)
        except errors.NotFound:
            return None

    def _forget_hardware(self, change: informer.Change[values.Node]) -> None:
        if change.old != change.new:
            self._hardware.clear()


@asynccontextmanager
async def follow(kube: Kube) -> AsyncIterator[ClusterView]:
    """A view that follows the cluster until the end of the block."""
    view = ClusterView(kube)
    async with AsyncExitStack() as stack:
        for each in (view._pools, view._claims, view._nodes):
            await stack.enter_async_context(each)
        yield view


def _known(raw: Object) -> KnownClaim:
    return KnownClaim(claim=claim_api.to_values(raw), deleting="deletionTimestamp" in raw["metadata"])


def _devices_of(raw: Object) -> values.Node:
    """A node without its slices and heartbeat, so that only other devices or labels make it another value."""
    status = raw.get("status") or {}
    return node_api.to_values({**raw, "spec": {}, "status": {"devices": status.get("devices") or []}})


def _first_default(pools: Iterable[values.Pool]) -> values.Pool | None:
    return min((pool for pool in pools if pool.is_default), key=lambda pool: pool.name, default=None)
