"""The agent as a whole: its parts, how they tell each other, and the loops that drive them.

    ledger changes ─► limits ─► pages      accounts ─► limits ─► publisher ─► VGPUNode.status
    driver         ─► discovery ─► limits, publisher      kubelet ─► csi ─► home

Everything runs in one event loop; only the driver is asked in a thread. No part knows another one that is
not named in its constructor.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from prometheus_client import CollectorRegistry

from vgpu import values
from vgpu_agent import audit, contexts, devices, discovery, facts, inspection, metrics, reporting
from vgpu_agent.csi.service import Changes
from vgpu_agent.held import SETTLE_SECONDS
from vgpu_agent.home import Home
from vgpu_agent.lending import Lender
from vgpu_agent.limits import Limits
from vgpu_agent.publishing import Publisher
from vgpu_agent.view import View
from vgpu_kube.events import Recorder
from vgpu_kube.protocol import Kube

LOOK_SECONDS = 0.25
LEND_SECONDS = 0.08
DISCOVER_SECONDS = 10.0
INSPECT_SECONDS = 5.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """Time as the agent's parts see it."""

    monotonic: Callable[[], float] = time.monotonic
    now: Callable[[], float] = time.time
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


class Agent:
    """One node's agent without its sockets."""

    def __init__(
        self,
        kube: Kube,
        *,
        node_name: str,
        backend: devices.Backend,
        home: Home,
        registry: CollectorRegistry | None = None,
        hami_names: bool = False,
        clock: Clock | None = None,
    ) -> None:
        self._clock = clock or Clock()
        self.registry = registry or CollectorRegistry()
        self.home = home
        self.changes = Changes()
        self.view = View(kube, node_name)
        self.limits = Limits(home, clock=self._clock.monotonic, changed=self._tell)
        self.lender = Lender(self.limits)
        self.discovery = discovery.Discovery(backend)
        self.work = metrics.Work(self.registry)
        self.facts = metrics.Facts(self.limits, self.lender, node=node_name, hami_names=hami_names)
        self.registry.register(self.facts)
        recorder = Recorder(kube, reporting.COMPONENT, node_name, now=self._moment)
        self.reporter = reporting.Reporter(recorder, self.view, self.work)
        self.auditor = audit.Auditor(self.reporter.escaped)
        self.contexts = contexts.Contexts(home.root / "contexts.json")
        self.inspection = inspection.Inspection(
            self.discovery.asker, self.limits, self.auditor, self.contexts, self.facts.device_memory_used
        )
        self.publisher = Publisher(
            kube,
            self.view,
            self.limits.reports,
            self.auditor.standing,
            now=self._clock.now,
            sleep=self._clock.sleep,
        )
        self.ready = asyncio.Event()

    @property
    def not_ready(self) -> str | None:
        """Why the agent cannot do its work yet, None when it can."""
        if self.view.lag is not None:
            return self.view.lag
        return None if self.ready.is_set() else "the devices have not been listed yet"

    # ---- what the CSI service asks

    def slice_of(self, pod_uid: str) -> values.Slice | None:
        """The slice a pod lives in, if the ledger has it."""
        return self.view.slice_of(pod_uid)

    def obstacle(self, slice_id: str) -> str | None:
        """Why its pods must not start yet."""
        return self.limits.obstacle(slice_id)

    def shown(self, slice_id: str) -> None:
        """One pod more shows this slice."""
        self.work.published.labels("publish").inc()

    def released(self, slice_id: str) -> None:
        """One pod fewer shows this slice."""
        self.work.published.labels("unpublish").inc()
        self.limits.released(slice_id)

    # ---- running

    async def run(self) -> None:
        """Does the agent's work until cancelled; limits stay in force after that, loans do not."""
        self.home.prepare()
        self.contexts.recall()
        try:
            async with self.view:
                await self.view.synced()
                await self._discover()
                self.view.on_ledger(self._ledger_changed)
                self.view.on_node(self._node_changed)
                self.limits.sweep()
                self.publisher.look()
                self.ready.set()
                await self._loops()
        finally:
            self.lender.withdraw()
            self.limits.close()

    async def _loops(self) -> None:
        async with asyncio.TaskGroup() as loops:
            loops.create_task(self.publisher.run())
            loops.create_task(self.reporter.run())
            loops.create_task(self._every(LOOK_SECONDS, self.limits.look))
            loops.create_task(self._every(LEND_SECONDS, self.lender.turn))
            loops.create_task(self._keep(DISCOVER_SECONDS, self._discover))
            loops.create_task(self._keep(INSPECT_SECONDS, self._inspect))

    async def _every(self, seconds: float, step: Callable[[], None]) -> None:
        while True:
            await self._clock.sleep(seconds)
            step()

    async def _keep(self, seconds: float, step: Callable[[], Awaitable[None]]) -> None:
        while True:
            await self._clock.sleep(seconds)
            await step()

    async def _discover(self) -> None:
        ledger = self.view.ledger
        found = await self.discovery.look(remembered=() if ledger is None else facts.remembered(ledger.raw))
        self.facts.found = found
        self._know()
        self.publisher.found(found)

    async def _inspect(self) -> None:
        if await self.inspection.look(self.facts.found):
            self._know()
        self.publisher.look()

    def _know(self) -> None:
        found = self.facts.found
        promised = facts.promises((each.device for each in found), self.view.pools, self.view.node)
        self.limits.know(facts.limits_against(found, self.contexts.costs, promised))

    def _node_changed(self) -> None:
        self._know()
        self.publisher.look()

    def _ledger_changed(self) -> None:
        ledger = self.view.ledger
        if ledger is not None:
            began = self._clock.monotonic()
            self.limits.apply(ledger.node.slices)
            self.work.applied.observe(self._clock.monotonic() - began)
            asyncio.get_running_loop().call_later(SETTLE_SECONDS, self.limits.look)
        self.publisher.look()

    def _tell(self) -> None:
        self.changes.tell()
        self.publisher.look()

    def _moment(self) -> datetime:
        return datetime.fromtimestamp(self._clock.now(), UTC)
