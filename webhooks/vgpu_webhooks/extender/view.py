"""What the extender knows: pools, claims, nodes and labelled pods as the cluster shows them.

Feeds the core's Book and tells subscribers what changed; asks the cluster only where the caches may lag
behind a caller. Nothing is decided and nothing is written here.
"""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from vgpu import inventory, reservations, values
from vgpu.api import claim as claim_api
from vgpu.api import names
from vgpu.api import node as node_api
from vgpu.api import pool as pool_api
from vgpu_kube import errors, informer, protocol, resources
from vgpu_kube.objects import Object
from vgpu_webhooks.extender import pods


class Unanswerable(Exception):  # noqa: N818 - names the finding
    """A pod that nothing can be decided about: what was expected, what was found, what to do."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A claim, and whether its deletion has begun: then nobody new joins it."""

    value: values.Claim
    deleting: bool


class View:
    """The caches. ``async with view.following():`` keeps them in step with the cluster."""

    def __init__(
        self,
        kube: protocol.Kube,
        *,
        book: reservations.Book,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self.book = book
        self._kube = kube
        self._pods_by_uid: dict[str, pods.Pod] = {}
        self._arrivals: dict[str, int] = {}
        self._arrived = 0
        self._priorities: Counter[int] = Counter()  # of the pods that run
        self._node_uids: dict[str, str] = {}
        self.pools = informer.Informer(
            kube, resources.VGPU_POOLS, decode=pool_api.to_values, clock=clock, sleep=sleep
        )
        self.claims = informer.Informer(kube, resources.VGPU_CLAIMS, decode=_claim, clock=clock, sleep=sleep)
        self.nodes = informer.Informer(
            kube, resources.VGPU_NODES, decode=node_api.to_values, clock=clock, sleep=sleep
        )
        self.pods = informer.Informer(
            kube, resources.PODS, labels=names.CLAIM_LABEL, decode=pods.decode, clock=clock, sleep=sleep
        )
        self.pools.subscribe(self._pool_changed)
        self.nodes.subscribe(self._node_changed)
        self.pods.subscribe(self._pod_changed)

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """Runs the caches; the first lists may still be on their way when it begins."""
        async with AsyncExitStack() as stack:
            for cache in (self.pools, self.claims, self.nodes, self.pods):
                await stack.enter_async_context(cache)
            yield

    async def synced(self) -> None:
        """Returns once everything has been listed."""
        for cache in self._caches().values():
            await cache.synced()

    def unready(self, now: float, *, silence_seconds: float) -> str | None:
        """Why the view should not be relied on, None where it may be."""
        for name, cache in self._caches().items():
            if not cache.has_synced:
                return f"{name} are not listed yet"
            if cache.last_contact is not None and now - cache.last_contact > silence_seconds:
                return f"the API server has been silent about {name} for {now - cache.last_contact:.0f} s"
        return None

    def pod(self, uid: str) -> pods.Pod | None:
        """A labelled pod as last seen."""
        return self._pods_by_uid.get(uid)

    def arrival(self, uid: str) -> int:
        """As which of all pods one was first seen: creation times have whole seconds only."""
        return self._arrivals.get(uid, self._arrived)

    def waiting_pods(self) -> Iterator[pods.Pod]:
        """The labelled pods that kube-scheduler still has to place."""
        return (pod for pod in self._pods_by_uid.values() if pod.waits)

    def queued_pods(self) -> Iterator[pods.Pod]:
        """The labelled pods behind our gate."""
        return (pod for pod in self._pods_by_uid.values() if pod.queued)

    def lowest_priority(self) -> int | None:
        """The priority of the least important pods that run, None where none does."""
        return min(self._priorities, default=None)

    async def current_pod(self, namespace: str, name: str, uid: str) -> pods.Pod | None:
        """A pod as the API server has it now; None where this very pod is gone."""
        try:
            raw = await self._kube.get(resources.PODS, name, namespace)
        except errors.NotFound:
            return None
        self.pods.observe(raw)
        pod = pods.decode(raw)
        return pod if pod.uid == uid else None

    async def refresh_nodes(self) -> None:
        """Folds in every node as the API server has it now: a fresh leader decides on nothing older."""
        async with aclosing(self._kube.pages(resources.VGPU_NODES)) as pages:
            async for page in pages:
                for raw in page.items:
                    self.nodes.observe(raw)  # decoded only where it is newer than what is known

    async def refresh_node(self, name: str) -> None:
        """Folds in one node as the API server has it now."""
        try:
            self.nodes.observe(await self._kube.get(resources.VGPU_NODES, name))
        except errors.NotFound:
            self.book.forget_node(name)

    async def request_of(self, pod: pods.Pod) -> values.Request:
        """What a pod asks for, also of a claim made a moment ago; raises Unanswerable where there is none."""
        if pod.claim is not None and (pod.namespace, pod.claim) not in self.claims.items:
            await self._look_for_claim(pod.namespace, pod.claim)
        return self.known_request_of(pod)

    def look_at_heartbeats(self, now: float) -> None:
        """Keeps new pods off nodes whose agents are silent at ``now``, in seconds since the epoch."""
        nodes = self.book.nodes.values()
        beats = {node.name: node.heartbeat_at for node in nodes if node.heartbeat_at is not None}
        self.book.see_silent(inventory.silent_nodes(beats, now=now))

    def known_request_of(self, pod: pods.Pod) -> values.Request:
        """What a pod asks for by what is known; raises Unanswerable."""
        claim = self._claim_of(pod)
        shared = claim.mode is values.AllocationMode.SHARED
        return values.Request(
            slice_id=claim.ref.uid if shared else pod.uid,
            pool_name=self._pool_name(claim),
            claim=claim.ref,
            pod=pod.ref,
            device_count=claim.device_count,
            requests=claim.requests,
            limits=claim.limits,
            grown=claim.grown if claim.grown != claim.requests else None,
            priority=claim.priority,
            constraints=claim.constraints,
        )

    def _claim_of(self, pod: pods.Pod) -> values.Claim:
        if pod.claim is None:
            raise Unanswerable(
                "NoClaimLabel",
                f"expected the label {names.CLAIM_LABEL} on pod {pod}, found none:"
                " label it with the name of a VGPUClaim in its namespace",
            )
        claim = self.claims.items.get((pod.namespace, pod.claim))
        if claim is None:
            raise Unanswerable(
                "ClaimNotFound",
                f"expected VGPUClaim {pod.claim} in namespace {pod.namespace} for pod {pod.name}, found none:"
                " create the claim or correct the label",
            )
        if claim.deleting:
            raise Unanswerable(
                "ClaimDeleting",
                f"VGPUClaim {pod.namespace}/{pod.claim} is being deleted:"
                " wait until it is gone and create it anew, or label the pod with another claim",
            )
        return claim.value

    def _pool_name(self, claim: values.Claim) -> str:
        if claim.pool_name is not None:
            return claim.pool_name
        defaults = sorted(pool.name for pool in self.book.pools.values() if pool.is_default)
        if not defaults:
            raise Unanswerable(
                str(values.Reason.POOL_NOT_FOUND),
                f"VGPUClaim {claim.ref.namespace}/{claim.ref.name} names no pool and none is the default:"
                f' set spec.poolName, or annotate a VGPUPool with {names.DEFAULT_POOL_ANNOTATION}: "true"',
            )
        return defaults[0]

    async def _look_for_claim(self, namespace: str, name: str) -> None:
        try:
            self.claims.observe(await self._kube.get(resources.VGPU_CLAIMS, name, namespace))
        except (errors.NotFound, errors.Invalid):
            return  # the caller says what is missing

    def _caches(self) -> dict[str, informer.Informer[Any]]:
        return {"pools": self.pools, "claims": self.claims, "nodes": self.nodes, "pods": self.pods}

    def _pool_changed(self, change: informer.Change[values.Pool]) -> None:
        if change.new is None:
            self.book.forget_pool(change.key[1])
        else:
            self.book.see_pool(change.new)

    def _node_changed(self, change: informer.Change[values.Node]) -> None:
        name = change.key[1]
        if change.new is None:
            self._node_uids.pop(name, None)
            self.book.forget_node(name)
            return
        uid = change.raw["metadata"]["uid"] if change.raw is not None else ""
        if self._node_uids.get(name, uid) != uid:
            self.book.forget_node(name)  # a successor of that name: its revisions begin anew
        self._node_uids[name] = uid
        self.book.see_node(change.new)

    def _pod_changed(self, change: informer.Change[pods.Pod]) -> None:
        if change.old is not None and (change.new is None or change.new.uid != change.old.uid):
            self._pods_by_uid.pop(change.old.uid, None)
            self._arrivals.pop(change.old.uid, None)
        if change.new is not None:
            self._arrived += change.new.uid not in self._arrivals
            self._arrivals.setdefault(change.new.uid, self._arrived)
            self._pods_by_uid[change.new.uid] = change.new
        self._priorities.update(each.priority for each in (change.new,) if each is not None and each.runs)
        self._priorities.subtract(each.priority for each in (change.old,) if each is not None and each.runs)
        self._priorities += Counter()  # drops what is not there any more


def _claim(raw: Object) -> Claim:
    deleting = raw["metadata"].get("deletionTimestamp") is not None
    return Claim(value=claim_api.to_values(raw), deleting=deleting)
