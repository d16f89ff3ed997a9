"""Growth taken back for pods that wait: shrinks, each written on the very state that it was decided on.

A shrink breaks nothing, so the operator writes it itself; what frees the memory is the application, and what
places the pod then is the extender. Nothing is remembered: killed anywhere, the next look finds what is left.
"""

import logging

from vgpu import ledger, values
from vgpu.api import node as node_api
from vgpu.api import node_patch
from vgpu.room import changes, scene
from vgpu_kube import crash, logs, patches, resources
from vgpu_kube.objects import Object
from vgpu_kube.protocol import Kube, Op
from vgpu_operator.metrics import Metrics
from vgpu_operator.room.wishes import Wish
from vgpu_operator.view import View

BEFORE_WRITE = "reclaim-before-write"
AFTER_WRITE = "reclaim-after-write"

logger = logging.getLogger(__name__)


class Reclaimer:
    """Writes the returns of a plan."""

    def __init__(self, kube: Kube, view: View, metrics: Metrics) -> None:
        self._kube = kube
        self._view = view
        self._metrics = metrics

    async def take_back(self, at: scene.Scene, wish: Wish, plan: tuple[changes.ReturnShares, ...]) -> None:
        """Shrinks what the plan names; a node that has changed since is for the next look.

        Raises KubeError.
        """
        for shares in plan:
            if shares.returns:
                await self._write(at.survey[shares.node].node, wish, shares)

    async def _write(self, planned: values.Node, wish: Wish, shares: changes.ReturnShares) -> None:
        written = False

        def ops(raw: Object) -> list[Op] | None:
            nonlocal written
            node = node_api.to_values(raw)
            change = shrinks(node, shares) if node.revision == planned.revision else None
            if change is None or change.empty:
                return None
            crash.point(BEFORE_WRITE)
            written = True
            return node_patch.patch(change)

        raw = await patches.rewrite(self._kube, resources.VGPU_NODES, shares.node, ops, attempts=1)
        crash.point(AFTER_WRITE)
        self._view.nodes.observe(raw)
        self._metrics.reclaims.labels(wish.request.pool_name, "written" if written else "overtaken").inc()
        if written:
            pod = f"{wish.claim[0]}/{wish.request.pod.name}"
            slices = ",".join(each.slice_id for each in shares.returns)
            event = "shares taken back"
            logs.event(logger, logging.INFO, event, node=shares.node, slices=slices, waiting=pod)


def shrinks(node: values.Node, shares: changes.ReturnShares) -> ledger.Change | None:
    """All returns of a node as one change, with open wishes for their room withdrawn; None if refused."""
    change = ledger.Change(node=node.name, revision=node.revision)
    freed: set[str] = set()
    for each in shares.returns:
        smaller = ledger.shrink(node, each.slice_id, each.allocated)
        if isinstance(smaller, values.Refusal):
            return None
        change, node = ledger.merged(change, smaller), ledger.staged(node, smaller)
        freed.update(node.slices[each.slice_id].device_uuids)
    for slice_ in list(node.slices.values()):
        if slice_.wanted is not None and freed.intersection(slice_.device_uuids):
            calm = ledger.wish(node, slice_.id, None)
            assert isinstance(calm, ledger.Change)
            change, node = ledger.merged(change, calm), ledger.staged(node, calm)
    return change
