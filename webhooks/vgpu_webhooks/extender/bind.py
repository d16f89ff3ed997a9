"""Bind: never a pod without a slice, and no pod of a gang before all of it are here.

Asked twice, it answers twice the same. Where an answer was lost the truth is read again; where it cannot be
learned the slice stays, for kube-scheduler's next try or, 30 s later, for ``release``.
"""

import asyncio
import logging

from vgpu import values
from vgpu.api import names
from vgpu_kube import errors, logs
from vgpu_webhooks.extender import gangs, hold, pods, release, turns, view, wire, writing

logger = logging.getLogger(__name__)

PARALLEL = 32
"""Bindings at the same time: more would only queue for connections, and the Lease's renewal behind them."""


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
        holder: hold.Holder,
        muster: gangs.Muster,
        pod_turns: turns.Turns,
    ) -> None:
        self._view = seen
        self._writer = writer
        self._releaser = releaser
        self._holder = holder
        self._muster = muster
        self._turns = pod_turns
        self._limit = asyncio.Semaphore(PARALLEL)

    async def bind(self, args: wire.BindingArgs) -> None:
        """Returns once the pod is bound to the node and its slice is in the ledger.

        Raises NotBound, hold.NotHeld, view.Unanswerable, writing.Standby or KubeError.
        """
        reign = self._writer.reign
        async with self._turns.turn(args.uid):
            pod = await self._pod(args)
            if not await self._muster.complete(pod):
                raise NotBound(
                    "GangIncomplete", f"not all of the gang of pod {pod} have a node yet: try again"
                )
            async with self._limit:
                await self._bind(pod, args.node, reign)

    async def _bind(self, pod: pods.Pod, node: str, reign: int) -> None:
        if pod.node is not None and pod.node != node:
            raise NotBound("AlreadyBound", f"expected pod {pod} unbound, found it bound to {pod.node}")
        slice_ = await self._holder.hold(pod, node)
        if pod.node is None:
            await self._write_binding(pod, node, slice_, reign=reign)
        logs.event(
            logger,
            logging.INFO,
            "pod bound",
            pod=pod,
            claim=f"{pod.namespace}/{pod.claim}",
            node=node,
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
