"""Bind: the slice into the ledger first, then the Binding; never a pod bound without a slice.

Asked twice, it answers twice the same. Where an answer was lost the truth is read again; where it cannot be
learned the slice stays, for kube-scheduler's next try or, 30 s later, for ``release``.
"""

import asyncio
import logging
from collections.abc import Callable

from vgpu import ledger, reservations, values
from vgpu.api import names
from vgpu.placement import choice
from vgpu_kube import errors, logs
from vgpu_webhooks.extender import backlog, pods, release, turns, view, wire, writing

logger = logging.getLogger(__name__)

PARALLEL = 32
"""Bindings at the same time: more would only queue for connections, and the Lease's renewal behind them."""


BACKLOG = 2 * PARALLEL
"""Bindings under way, waiting ones included, above which Filter lets kube-scheduler wait."""


class NotBound(Exception):  # noqa: N818 - the answer to kube-scheduler
    """The pod is not bound: why, and what becomes of it. ``reason`` is one of few words, for metrics."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Binder:
    """Binds one pod at a time; several pods at the same time."""

    def __init__(
        self,
        *,
        seen: view.View,
        writer: writing.Writer,
        releaser: release.Releaser,
        pod_turns: turns.Turns,
        clock: Callable[[], float],
    ) -> None:
        self._view = seen
        self._writer = writer
        self._releaser = releaser
        self._turns = pod_turns
        self._clock = clock
        self._limit = asyncio.Semaphore(PARALLEL)
        self.backlog = backlog.Backlog(BACKLOG)

    async def bind(self, args: wire.BindingArgs) -> None:
        """Returns once the pod is bound to the node and its slice is in the ledger.

        Raises NotBound, view.Unanswerable, writing.Standby or KubeError.
        """
        reign = self._writer.reign
        with self.backlog.one_more():
            await self._bind(args, reign)

    async def _bind(self, args: wire.BindingArgs, reign: int) -> None:
        async with self._turns.turn(args.uid), self._limit:
            pod = await self._pod(args)
            if pod.node is not None and pod.node != args.node:
                raise NotBound("AlreadyBound", f"expected pod {pod} unbound, found it bound to {pod.node}")
            slice_ = await self._hold(pod, args.node)
            if pod.node is None:
                await self._write_binding(pod, args.node, slice_, reign=reign)
            logs.event(
                logger,
                logging.INFO,
                "pod bound",
                pod=pod,
                claim=f"{pod.namespace}/{pod.claim}",
                node=args.node,
                devices=",".join(slice_.device_uuids),
            )

    async def _pod(self, args: wire.BindingArgs) -> pods.Pod:
        known = self._view.pod(args.uid)
        pod = known or await self._view.current_pod(args.namespace, args.name, args.uid)
        if pod is None or (pod.namespace, pod.name) != (args.namespace, args.name):
            raise NotBound(
                "PodGone", f"expected pod {args.namespace}/{args.name} with UID {args.uid}, found it gone"
            )
        if pod.deleting or pod.finished:
            raise NotBound("PodGone", f"expected pod {pod} to be alive, found it deleted or finished")
        return pod

    async def _hold(self, pod: pods.Pod, node: str) -> values.Slice:
        """The pod's slice on the node, in the ledger for certain."""
        request = await self._view.request_of(pod)
        if self._held(pod, node) is None:
            await self._leave_other_node(pod, node)
            refusal = await self._write_slice(request, node)
            if refusal is not None:
                raise NotBound(str(refusal.reason), refusal.message)
        slice_ = self._held(pod, node)
        if slice_ is None:
            raise NotBound(
                "SliceLost", f"expected the slice of pod {pod} on {node}, found it gone: try again"
            )
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
            raise NotBound("AlreadyBound", f"expected pod {pod} unbound, found {_whereabouts(current)}")
        await self._releaser.give_back(pod.uid, held[0].name)

    async def _write_binding(self, pod: pods.Pod, node: str, slice_: values.Slice, *, reign: int) -> None:
        annotations = {
            names.DEVICES_ANNOTATION: ",".join(slice_.device_uuids),
            names.SLICE_ANNOTATION: slice_.id,
        }
        try:
            await self._writer.bind(pod, node, annotations, reign=reign)
        except errors.Unavailable as error:
            await self._learn(pod, node, error)
        except errors.KubeError as error:
            await self._give_up(pod, node, error)

    async def _learn(self, pod: pods.Pod, node: str, error: errors.KubeError) -> None:
        """The answer was lost: done where the pod is bound, else an error that leaves the slice as it is."""
        current = await self._view.current_pod(pod.namespace, pod.name, pod.uid)
        if current is None or current.node != node:
            raise NotBound("Unavailable", f"whether pod {pod} is bound is not known yet: {error}")

    async def _give_up(self, pod: pods.Pod, node: str, error: errors.KubeError) -> None:
        """The Binding was refused: unless the pod is bound to this very node, its slice goes back."""
        current = await self._view.current_pod(pod.namespace, pod.name, pod.uid)
        if current is not None and current.node == node:
            return
        await self._releaser.give_back(pod.uid, node)
        raise NotBound("BindingRefused", f"the API server refused to bind pod {pod} to {node}: {error}")

    def _held(self, pod: pods.Pod, node: str) -> values.Slice | None:
        found = self._view.book.slice_of(pod.uid)
        return found[1] if found is not None and found[0].name == node else None


def _whereabouts(pod: pods.Pod | None) -> str:
    return "it gone" if pod is None else f"it bound to {pod.node}"
