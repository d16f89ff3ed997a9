"""Tells the cluster what the node has and what is in force: the one writer of VGPUNode.status.

It compares what should stand there with what does, and writes the difference; so nothing is written that has
not changed, but for a heartbeat a minute. What should stand there is said in ``facts`` and ``limits``.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence

from vgpu import values
from vgpu.api import node, timestamps
from vgpu_agent import devices, facts
from vgpu_agent.view import View
from vgpu_kube import errors, logs
from vgpu_kube.backoff import Backoff
from vgpu_kube.objects import Object
from vgpu_kube.protocol import Kube
from vgpu_kube.resources import NODES, VGPU_NODES

HEARTBEAT_SECONDS = 60.0

logger = logging.getLogger(__name__)


class Publisher:
    """Keeps the objects of one node equal to what is found and in force.

    ``reports`` gives the entries of status.slices that should stand there now, ``escapes`` what
    status.escapes should tell. ``look`` says that something may have changed; several looks are one write.
    """

    def __init__(
        self,
        kube: Kube,
        view: View,
        reports: Callable[[], dict[str, Object]],
        escapes: Callable[[], Mapping[str, values.Escape]],
        *,
        now: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._kube = kube
        self._view = view
        self._reports = reports
        self._escapes = escapes
        self._now = now
        self._sleep = sleep
        self._found: Sequence[devices.Found] | None = None
        self._dirty = asyncio.Event()
        self._backoff = Backoff(limit=5.0)

    def found(self, found: Sequence[devices.Found]) -> None:
        """These are the node's devices from now on."""
        if found != self._found:
            self._found = found
            self.look()

    def look(self) -> None:
        """Something may have to be written."""
        self._dirty.set()

    async def run(self) -> None:
        """Writes whenever it is worth it, until cancelled."""
        while True:
            await self._wait()
            self._dirty.clear()
            try:
                await self.settle()
                self._backoff.succeeded()
            except errors.KubeError as error:
                pause = self._backoff.failed()
                logs.event(logger, logging.WARNING, "not published", reason=error, pause=round(pause, 2))
                self.look()
                await self._sleep(pause)

    async def settle(self) -> None:
        """Writes what differs; returns when nothing does. Raises KubeError."""
        owner = self._view.node
        if owner is None:
            logs.event(logger, logging.WARNING, "no such node", node=self._view.node_name)
            return
        await self._own_ledger(owner)
        await self._write_status(owner)
        await self._write_capacity(owner)

    async def _own_ledger(self, owner: Object) -> None:
        if self._view.ledger is None:
            with contextlib.suppress(errors.AlreadyExists):  # the watch is about to tell
                self._view.observe_ledger(await self._kube.create(VGPU_NODES, facts.vgpu_node(owner)))
            return
        if changes := facts.metadata_changes(self._view.ledger.raw, owner):
            raw = await self._kube.patch_merge(VGPU_NODES, self._view.node_name, changes)
            self._view.observe_ledger(raw)

    async def _write_status(self, owner: Object) -> None:
        ledger = self._view.ledger
        if ledger is None:
            self.look()
            return
        status = ledger.raw.get("status", {})
        found = None if self._found is None else [facts.device(each) for each in self._found]
        escapes = {uid: node.escape_to_json(each) for uid, each in self._escapes().items()}
        changes = facts.status_changes(status, found, self._reports(), escapes)
        changes |= facts.allocatable_changes(status, owner)
        if not changes and not self._heartbeat_due(ledger.node.heartbeat_at):
            return
        changes["heartbeatTime"] = timestamps.format_time(self._now())
        raw = await self._kube.patch_merge(
            VGPU_NODES, self._view.node_name, {"status": changes}, subresource="status"
        )
        self._view.observe_ledger(raw)

    def _heartbeat_due(self, last: float | None) -> bool:
        return last is None or self._now() - last >= HEARTBEAT_SECONDS

    async def _write_capacity(self, owner: Object) -> None:
        if self._found is None:
            return
        changes = facts.capacity_changes(owner, facts.totals(self._found, self._view.pools, owner))
        if changes:
            raw = await self._kube.patch_merge(NODES, self._view.node_name, changes, subresource="status")
            self._view.observe_node(raw)

    async def _wait(self) -> None:
        """Returns when something may have changed, or a heartbeat is due."""
        waits = [
            asyncio.ensure_future(self._dirty.wait()),
            asyncio.ensure_future(self._sleep(HEARTBEAT_SECONDS)),
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()
