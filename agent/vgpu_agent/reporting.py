"""Tells people, by Events, what the agent found out about a pod; and counts it."""

import asyncio

from vgpu_agent import audit, metrics
from vgpu_agent.view import View
from vgpu_kube import events
from vgpu_kube.objects import Object

COMPONENT = "vgpu-agent"
WAITING = 256  # Events that may wait to be written; more are counted only


class Reporter:
    """Writes Events in its own time: whoever reports something does not wait for the API server."""

    def __init__(self, recorder: events.Recorder, view: View, work: metrics.Work) -> None:
        self._recorder = recorder
        self._view = view
        self._work = work
        self._waiting: asyncio.Queue[audit.Escape] = asyncio.Queue(WAITING)

    def escaped(self, escape: audit.Escape) -> None:
        """A pod holds GPU memory that its slice does not account for."""
        self._work.escapes.labels(escape.device).inc()
        if not self._waiting.full():
            self._waiting.put_nowait(escape)

    async def run(self) -> None:
        """Writes what was reported, until cancelled."""
        while True:
            escape = await self._waiting.get()
            await self._recorder.record(
                self._regarding(escape),
                events.EventType.WARNING,
                "GPUMemoryUnaccounted",
                f"{escape}: something in it does not load the shim, or the shim was removed from it",
                "Audit",
            )

    def _regarding(self, escape: audit.Escape) -> Object:
        """The pod where the ledger knows it, else the node's own object."""
        slice_ = self._view.slice_of(escape.pod_uid)
        if slice_ is not None:
            for pod in slice_.pods:
                if pod.uid == escape.pod_uid:
                    place = {"namespace": slice_.claim.namespace, "name": pod.name, "uid": pod.uid}
                    return {"apiVersion": "v1", "kind": "Pod", **place}
        node: Object = {"apiVersion": "v1", "kind": "Node", "name": self._view.node_name}
        return node
