"""Pods that use a GPU outside of their slice: evicted where the pool says Stop.

What escaped is found by the nodes' agents and stands in the status of each VGPUNode; how it was found, and
that it is told, is theirs. An eviction honours grace periods and PodDisruptionBudgets, and reaches only a pod
that is really on the node that accuses it (docs/decisions/0008-escapes.md).
"""

import logging

from vgpu import values
from vgpu_kube import errors, logs, resources
from vgpu_kube.events import EventType, Recorder
from vgpu_kube.informer import Change
from vgpu_kube.objects import Object
from vgpu_kube.protocol import Kube
from vgpu_operator.metrics import Metrics
from vgpu_operator.view import View

SPARED = frozenset({"kube-system", "vgpu-system"})
"""Namespaces of the platform itself: what runs there is reported, and the platform team's to judge."""

logger = logging.getLogger(__name__)


class Escapes:
    """Reconciles the escapes of one node at a time."""

    def __init__(self, kube: Kube, view: View, recorder: Recorder, metrics: Metrics) -> None:
        self._kube = kube
        self._view = view
        self._recorder = recorder
        self._metrics = metrics
        self.nodes: set[str] = set()  # on which something has escaped

    def see(self, change: Change[values.Node]) -> bool:
        """Takes in a node as it is now; whether it tells of escapes that it did not tell of before."""
        name, old, new = change.key[1], change.old, change.new
        if new is None or not new.escapes:
            self.nodes.discard(name)
            return False
        self.nodes.add(name)
        return old is None or old.escapes != new.escapes

    async def reconcile(self, name: str) -> None:
        """Evicts what has escaped on a node and is to be stopped; raises KubeError where it cannot."""
        node = self._view.nodes.items.get((None, name))
        wanted = None if node is None else self._to_stop(node)
        if node is None or not wanted:
            return
        failed: errors.KubeError | None = None
        for pod in (await self._kube.list(resources.PODS, fields=f"spec.nodeName={name}")).items:
            uid = pod["metadata"]["uid"]
            if uid in wanted and _may_go(pod):
                try:
                    await self._evict(pod, wanted[uid], node.escapes[uid])
                except errors.KubeError as error:
                    self._metrics.escapes.labels(wanted[uid], "put off").inc()
                    failed = error
        if failed is not None:
            raise failed

    def _to_stop(self, node: values.Node) -> dict[str, str]:
        """The pools that want a pod stopped, by the pod's UID."""
        stopped: dict[str, str] = {}
        for uid, escape in node.escapes.items():
            for pool in self._pools_of(node, uid, escape):
                known = self._view.book.pools.get(pool)
                if known is not None and known.on_escape is values.OnEscape.STOP:
                    stopped[uid] = pool
        return stopped

    def _pools_of(self, node: values.Node, uid: str, escape: values.Escape) -> list[str]:
        """The pool of a pod's slice; without one, the pools that the device belongs to."""
        for slice_ in node.slices.values():
            if any(pod.uid == uid for pod in slice_.pods):
                return [slice_.pool_name]
        membership = self._view.membership
        return [
            pool
            for pool in sorted(membership.pools_of(node.name))
            if escape.device_uuid in membership.parts(pool)[node.name].device_uuids
        ]

    async def _evict(self, pod: Object, pool: str, escape: values.Escape) -> None:
        about = pod["metadata"]
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": about["name"], "namespace": about["namespace"]},
            "deleteOptions": {"preconditions": {"uid": about["uid"]}},
        }
        try:
            await self._kube.create_subresource(
                resources.PODS, about["name"], "eviction", body, about["namespace"]
            )
        except (errors.NotFound, errors.Conflict):
            return  # it has gone meanwhile, or one of its name is another one
        self._metrics.escapes.labels(pool, "evicted").inc()
        where = f"{about['namespace']}/{about['name']}"
        logs.event(logger, logging.WARNING, "escape stopped", pod=where, pool=pool, what=escape.message)
        await self._tell(about, pool, escape)

    async def _tell(self, about: Object, pool: str, escape: values.Escape) -> None:
        regarding = {
            "apiVersion": "v1",
            "kind": "Pod",
            "namespace": about["namespace"],
            "name": about["name"],
            "uid": about["uid"],
        }
        note = f"{escape.message}: evicted, as audit.onEscape of pool {pool} says Stop"
        await self._recorder.record(regarding, EventType.WARNING, "EscapeStopped", note, "Evict")


def _may_go(pod: Object) -> bool:
    about = pod["metadata"]
    return about["namespace"] not in SPARED and "deletionTimestamp" not in about
