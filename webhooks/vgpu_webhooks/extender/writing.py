"""How the extender writes: only while it is the active one, and the ledger by compare-and-swap.

Every write begins while the Lease is certainly ours and ends within the time that a successor still waits
afterwards. What to write is decided by the caller, again for every newer ledger met.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from typing import Protocol

from vgpu import ledger, values
from vgpu.api import node_patch
from vgpu_kube import crash, errors, logs, protocol, resources
from vgpu_kube.objects import Object
from vgpu_webhooks.extender import batch, pods, turns, view

logger = logging.getLogger(__name__)

ATTEMPTS = 8
"""How often one change is decided anew because another process wrote the same node in between."""


class Standby(Exception):  # noqa: N818 - a state, no mistake
    """Another process is, or may be, the active extender."""


class Lead(Protocol):
    """Who may write."""

    @property
    def active(self) -> bool:
        """True while only this process writes, for certain, and knows all that was written before."""
        ...

    @property
    def reign(self) -> int:
        """Changes whenever leadership is lost: what was decided before does not hold any more."""
        ...

    async def sure(self, reign: int) -> bool:
        """Whether a write may begin now on what was decided in ``reign``."""
        ...


class Writer:
    """The only place from which the extender changes the cluster.

    ``timeout_seconds`` bounds each write; a successor waits at least so long after our Lease has ended.
    """

    def __init__(
        self,
        kube: protocol.Kube,
        *,
        seen: view.View,
        lead: Lead,
        timeout_seconds: float,
    ) -> None:
        self._kube = kube
        self._view = seen
        self._lead = lead
        self._timeout = timeout_seconds
        self._turns = turns.Turns()
        self._asks: dict[str, list[batch.Ask]] = {}

    async def change(self, node: str, decide: batch.Decide, *, point: str) -> values.Refusal | None:
        """Writes what ``decide`` makes of a node's newest ledger; its refusal, or None once it is written.

        What is asked of a node while a write of it is under way shares the next one. Raises Standby, and
        KubeError where the outcome is unknown or all attempts met a newer ledger.
        """
        ask = batch.Ask(decide=decide, point=point)
        self._asks.setdefault(node, []).append(ask)
        await asyncio.sleep(0)  # whoever decides on this node in the same breath shares the first write
        async with self._turns.turn(node):
            if not ask.done:
                await self._write_all(node)
        return ask.result()

    async def _write_all(self, node: str) -> None:
        """Settles everything asked of a node so far, with one write for each ledger met."""
        asks = self._asks.pop(node)
        try:
            for _ in range(ATTEMPTS):
                if await self._write_once(node, [ask for ask in asks if not ask.done]):
                    return
            _fail(asks, errors.Conflict(409, "Conflict", f"{ATTEMPTS} writes of {node} met a newer ledger"))
        except (errors.KubeError, Standby) as error:
            _fail(asks, error)
        finally:
            if left := [ask for ask in asks if not ask.done]:  # cancelled: somebody else's turn writes them
                self._asks.setdefault(node, [])[:0] = left

    async def _write_once(self, node: str, asks: list[batch.Ask]) -> bool:
        """Whether all is settled; False where the ledger has moved on, which is known afterwards."""
        known = self._view.book.nodes.get(node)
        if known is None:
            _settle(asks, _gone(node))
            return True
        change, writing = batch.fold(known, asks)
        try:
            if not change.empty:
                await self._write(change, sorted({ask.point for ask in writing}))
        except errors.NotFound:
            self._view.book.forget_node(node)
            _settle(writing, _gone(node))
        except errors.Conflict:
            logs.event(logger, logging.INFO, "ledger moved on", node=node, decisions=len(writing))
            await self._view.refresh_node(node)
            return False
        else:
            _settle(writing, None)
        return True

    @property
    def reign(self) -> int:
        """To be noted where a decision is made, and given where it is written."""
        return self._lead.reign

    async def bind(self, pod: pods.Pod, node: str, annotations: Mapping[str, str], *, reign: int) -> None:
        """Binds this very pod; raises Standby or KubeError."""
        await self._claim_right(reign)
        crash.point("before-binding")
        await self._kube.bind(pod.namespace, pod.name, pod.uid, node, annotations, timeout=self._timeout)
        crash.point("after-binding")

    async def nominate(self, pod: pods.Pod, node: str, *, reign: int) -> None:
        """Tells kube-scheduler to try this node first for this very pod; raises Standby or KubeError."""
        await self._claim_right(reign)
        crash.point("before-nominate")
        body = {"metadata": {"uid": pod.uid}, "status": {"nominatedNodeName": node}}
        await self._kube.patch_merge(
            resources.PODS, pod.name, body, pod.namespace, subresource="status", timeout=self._timeout
        )
        crash.point("after-nominate")

    async def ungate(self, pod: pods.Pod, *, reign: int) -> None:
        """Opens our gate, the only one left, of this very pod; raises Standby or KubeError."""
        await self._claim_right(reign)
        crash.point("before-ungate")
        body = {"metadata": {"uid": pod.uid}, "spec": {"schedulingGates": None}}
        raw: Object = await self._kube.patch_merge(
            resources.PODS, pod.name, body, pod.namespace, timeout=self._timeout
        )
        crash.point("after-ungate")
        self._view.pods.observe(raw)

    async def annotate(self, pod: pods.Pod, annotations: Mapping[str, str]) -> None:
        """Puts annotations on this very pod; raises Standby or KubeError."""
        await self._claim_right(self.reign)
        crash.point("before-wake")
        body = {"metadata": {"uid": pod.uid, "annotations": dict(annotations)}}
        await self._kube.patch_merge(resources.PODS, pod.name, body, pod.namespace, timeout=self._timeout)
        crash.point("after-wake")

    async def _write(self, change: ledger.Change, points: list[str]) -> None:
        await self._claim_right(self.reign)  # decided a moment ago, and nothing waited since
        for point in points:
            crash.point(f"before-{point}")
        raw: Object = await self._kube.patch_json(
            resources.VGPU_NODES, change.node, node_patch.patch(change), timeout=self._timeout
        )
        for point in points:
            crash.point(f"after-{point}")
        self._view.nodes.observe(raw)

    async def _claim_right(self, reign: int) -> None:
        if not await self._lead.sure(reign):
            raise Standby("this extender is not the active one any more: ask again")


def _settle(asks: Iterable[batch.Ask], refusal: values.Refusal | None) -> None:
    for ask in asks:
        ask.settle(refusal)


def _fail(asks: Iterable[batch.Ask], error: Exception) -> None:
    for ask in asks:
        if not ask.done:
            ask.fail(error)


def _gone(node: str) -> values.Refusal:
    return values.Refusal(
        reason=values.Reason.NO_FIT, message=f"VGPUNode {node} is gone: another node has to be chosen"
    )
