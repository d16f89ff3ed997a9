"""What the operator knows of the cluster, and whose status a change of it concerns.

Five informers feed the indexes that statuses are computed from. Nothing is written from here, and no status
is decided.
"""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from vgpu import inventory, reservations, values
from vgpu.api import names
from vgpu.api import node as node_api
from vgpu_kube import resources
from vgpu_kube.informer import Change, Informer
from vgpu_kube.objects import Key
from vgpu_kube.protocol import Kube
from vgpu_operator import homes, known
from vgpu_operator.census import Census, Standing
from vgpu_operator.holdings import Holding, Holdings
from vgpu_operator.membership import Membership

CONTACT_SECONDS = 180.0
"""A cache that has heard nothing for so long is not to be trusted; bookmarks come about once a minute."""


class View:
    """Pools, claims, labelled pods, VGPUNodes and Nodes, indexed.

    ``subscribe`` names who is told which claims and pools a change concerns; it comes before ``following``.
    """

    def __init__(self, kube: Kube, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.pools = Informer(kube, resources.VGPU_POOLS, decode=known.pool, clock=clock)
        self.claims = Informer(kube, resources.VGPU_CLAIMS, decode=known.claim, clock=clock)
        self.pods = Informer(kube, resources.PODS, labels=names.CLAIM_LABEL, decode=known.pod, clock=clock)
        self.nodes = Informer(kube, resources.VGPU_NODES, decode=node_api.to_values, clock=clock)
        self.hosts = Informer(kube, resources.NODES, decode=homes.host, clock=clock)
        self._informers: dict[str, Informer[Any]] = {
            "VGPUNodes": self.nodes,
            "VGPUPools": self.pools,
            "VGPUClaims": self.claims,
            "pods": self.pods,
            "Nodes": self.hosts,
        }
        self.book = reservations.Book()
        self.membership = Membership()
        self.census = Census()
        self.holdings = Holdings()
        self._pods_of: dict[Key, dict[str, known.Pod]] = {}
        self._on_claim: Callable[[Key], None] = _nobody
        self._on_edit: Callable[[Key], None] = _nobody
        self._on_pool: Callable[[str], None] = _nobody

    def subscribe(
        self,
        *,
        on_claim: Callable[[Key], None],
        on_edit: Callable[[Key], None],
        on_pool: Callable[[str], None],
    ) -> None:
        """Calls back with the claims and pools that a change concerns, as often as there are changes."""
        self._on_claim, self._on_edit, self._on_pool = on_claim, on_edit, on_pool

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """Keeps the view up to date for as long as the context lasts."""
        self.nodes.subscribe(self._node_changed)
        self.pools.subscribe(self._pool_changed)
        self.claims.subscribe(self._claim_changed)
        self.pods.subscribe(self._pod_changed)
        async with AsyncExitStack() as stack:
            for informer in self._informers.values():
                await stack.enter_async_context(informer)
            yield

    async def synced(self) -> None:
        """Returns once everything that exists is known."""
        for informer in self._informers.values():
            await informer.synced()

    def lag(self) -> str | None:
        """Why the view cannot be trusted, None where it can."""
        for kind, informer in self._informers.items():
            contact = informer.last_contact
            if not informer.has_synced or contact is None:
                return (
                    f"{kind} are not listed yet: the API server or the CustomResourceDefinitions are missing"
                )
            if self._clock() - contact > CONTACT_SECONDS:
                return f"nothing heard about {kind} for {self._clock() - contact:.0f} s"
        return None

    def look_at_heartbeats(self, now: float) -> frozenset[str]:
        """Takes in whose agents are silent at ``now``; the pools that lose or gain room by it."""
        beats = {name: node.heartbeat_at for (_, name), node in self.nodes.items.items()}
        known = {name: at for name, at in beats.items() if at is not None}
        changed = self.book.see_silent(inventory.silent_nodes(known, now=now))
        return frozenset(pool for name in changed for pool in self.membership.pools_of(name))

    def pool_name_of(self, claim: values.Claim) -> str | None:
        """The pool a claim draws from: the one it names, else the first of the default ones, else None."""
        if claim.pool_name is not None:
            return claim.pool_name
        return min((pool.name for pool in self.book.pools.values() if pool.is_default), default=None)

    def pods_of(self, claim: Key) -> tuple[known.Pod, ...]:
        """The pods of a claim that are not finished, the oldest first."""
        pods = [pod for pod in self._pods_of.get(claim, {}).values() if not pod.finished]
        return tuple(sorted(pods, key=lambda pod: (pod.created_at, pod.ref.name)))

    def pod(self, claim: Key, uid: str) -> known.Pod | None:
        """One pod of a claim, finished or not."""
        return self._pods_of.get(claim, {}).get(uid)

    def waiting(self, claim: values.Claim) -> tuple[known.Pod, ...]:
        """The pods of a claim that have no slice yet and still want one, the oldest first."""
        held = {pod.uid for holding in self.holdings.of(claim.ref.uid) for pod in holding.slice.pods}
        pods = self.pods_of((claim.ref.namespace, claim.ref.name))
        return tuple(pod for pod in pods if not pod.deleting and pod.ref.uid not in held)

    def slices_of(self, claim: values.Claim) -> tuple[Holding, ...]:
        """The slices of a claim."""
        return self.holdings.of(claim.ref.uid)

    def recount(self, key: Key) -> None:
        """Counts a claim anew; once for many changes, as it looks at all pods of the claim."""
        claim = self.claims.items.get(key)
        pool = None if claim is None else self.pool_name_of(claim.claim)
        standing = None
        if claim is not None and pool is not None:
            standing = Standing(
                pool=pool,
                bound=bool(self.slices_of(claim.claim)),
                pending=bool(self.waiting(claim.claim)),
            )
        for changed in self.census.put(key, standing):
            self._on_pool(changed)

    def _pool_changed(self, change: Change[known.Pool]) -> None:
        old, new = change.old, change.new
        if old is not None and new is not None and (old.pool, old.meta) == (new.pool, new.meta):
            return
        name = change.key[1]
        if new is None:
            self.book.forget_pool(name)
            self.membership.forget_pool(name)
        else:
            self.book.see_pool(new.pool)
            self.membership.see_pool(new.pool)
        for other in {
            name,
            *self.book.pools,
        }:  # whether pools overlap, and which is the default, concerns them all
            self._on_pool(other)
        for key, claim in self.claims.items.items():
            if claim.claim.pool_name in (None, name):
                self._on_claim(key)

    def _claim_changed(self, change: Change[known.Claim]) -> None:
        old, new = change.old, change.new
        if old is not None and new is not None and (old.claim, old.meta) == (new.claim, new.meta):
            return
        self._on_edit(change.key)

    def _pod_changed(self, change: Change[known.Pod]) -> None:
        if change.old == change.new:
            return
        for key in {(pod.namespace, pod.claim_name) for pod in (change.old, change.new) if pod is not None}:
            self._index(key, change)
            self._on_claim(key)

    def _index(self, claim: Key, change: Change[known.Pod]) -> None:
        pods = self._pods_of.setdefault(claim, {})
        if change.old is not None:
            pods.pop(change.old.ref.uid, None)
        if change.new is not None and change.new.claim_name == claim[1]:
            pods[change.new.ref.uid] = change.new
        if not pods:
            del self._pods_of[claim]

    def _node_changed(self, change: Change[values.Node]) -> None:
        old, new, name = change.old, change.new, change.key[1]
        if same_but_heartbeat(old, new):
            self._hear(old, new)
            return  # how fresh the reports are is looked at by the clock, not by each of them
        pools = self.membership.pools_of(name)
        if new is None:
            self.book.forget_node(name)
            self.membership.forget_node(name)
        else:
            self.book.see_node(new)
            if old is None or (old.devices, old.labels) != (new.devices, new.labels):
                self.membership.see_node(new)
        for claim in self.holdings.see(old, new):
            self._on_claim((claim.namespace, claim.name))
        for pool in pools | self.membership.pools_of(name) | _pools_charged(old) | _pools_charged(new):
            self._on_pool(pool)

    def _hear(self, old: values.Node | None, new: values.Node | None) -> None:
        """An agent that speaks again makes room at once; that one falls silent takes a clock."""
        if old is None or new is None or new.name not in self.book.silent:
            return
        if (new.heartbeat_at or 0.0) > (old.heartbeat_at or 0.0):
            self.book.see_silent(self.book.silent - {new.name})
            for pool in self.membership.pools_of(new.name):
                self._on_pool(pool)


def _nobody(_: object) -> None:
    """Told when nobody has subscribed."""


def same_but_heartbeat(old: values.Node | None, new: values.Node | None) -> bool:
    """Whether nothing has changed that a decision may depend on."""
    if old is None or new is None:
        return False
    return (old.revision, old.labels, old.cordoned_devices, old.slices, old.devices, old.enforced) == (
        new.revision,
        new.labels,
        new.cordoned_devices,
        new.slices,
        new.devices,
        new.enforced,
    )


def _pools_charged(node: values.Node | None) -> set[str]:
    return set() if node is None else {entry.pool_name for entry in node.slices.values()}
