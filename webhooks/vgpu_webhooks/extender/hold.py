"""Holding: a pod's slice is in the ledger, on the node and the devices that were promised to it.

Bind needs it, and the queue before it opens a pod's gate. The caller has the pod's turn.
"""

from collections.abc import Callable

from vgpu import ledger, reservations, values
from vgpu.placement import choice
from vgpu_kube import errors
from vgpu_webhooks.extender import pods, release, view, writing


class NotHeld(Exception):  # noqa: N818 - an answer
    """The pod has no slice there: why. ``reason`` is one of few words, for metrics."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Holder:
    """Writes slices of pods that are to be bound."""

    def __init__(
        self,
        *,
        seen: view.View,
        writer: writing.Writer,
        releaser: release.Releaser,
        clock: Callable[[], float],
    ) -> None:
        self._view = seen
        self._writer = writer
        self._releaser = releaser
        self._clock = clock

    async def hold(self, pod: pods.Pod, node: str) -> values.Slice:
        """The pod's slice on the node, in the ledger for certain.

        Raises NotHeld, view.Unanswerable, writing.Standby or KubeError.
        """
        request = await self._view.request_of(pod)
        if self._held(pod, node) is None:
            await self._leave_other_node(pod, node)
            refusal = await self._write_slice(request, node)
            if refusal is not None:
                raise NotHeld(str(refusal.reason), refusal.message)
        slice_ = self._held(pod, node)
        if slice_ is None:
            raise NotHeld("SliceLost", f"expected the slice of pod {pod} on {node}, found it gone: try again")
        return slice_

    async def _write_slice(self, request: values.Request, node: str) -> values.Refusal | None:
        try:
            return await self._writer.change(node, lambda known: self._decide(request, known), point="slice")
        except errors.Unavailable:
            await self._view.refresh_node(node)  # the answer was lost, the write perhaps not
            if self._view.book.slice_of(request.pod.uid) is None:
                raise
            return None

    def _decide(self, request: values.Request, node: values.Node) -> ledger.Change | values.Refusal:
        """The slice on the devices that were promised; chosen now where the promise has run out."""
        found = self._view.book.place(request, [node.name], now=self._clock())
        pool = self._view.book.pools.get(request.pool_name)
        match found:
            case choice.Placement() if pool is not None:
                return ledger.hold(pool, node, request, found.device_uuids)
            case choice.NoFit():
                return values.Refusal(reason=values.Reason.NO_FIT, message=found.message)
            case values.Refusal():
                return found
            case reservations.Elsewhere():
                return values.Refusal(
                    reason=values.Reason.NO_FIT, message=f"the slice is on {found.node} still: try again"
                )
        return values.Refusal(
            reason=values.Reason.POOL_NOT_FOUND, message=f"there is no VGPUPool {request.pool_name}"
        )

    async def _leave_other_node(self, pod: pods.Pod, node: str) -> None:
        held = self._view.book.slice_of(pod.uid)
        if held is None or held[0].name == node:
            return
        current = await self._view.current_pod(pod.namespace, pod.name, pod.uid)
        if current is None or current.node is not None:
            raise NotHeld("AlreadyBound", f"expected pod {pod} unbound, found {_whereabouts(current)}")
        await self._releaser.give_back(pod.uid, held[0].name)

    def _held(self, pod: pods.Pod, node: str) -> values.Slice | None:
        found = self._view.book.slice_of(pod.uid)
        return found[1] if found is not None and found[0].name == node else None


def _whereabouts(pod: pods.Pod | None) -> str:
    return "it gone" if pod is None else f"it bound to {pod.node}"
