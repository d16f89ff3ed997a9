"""The extender as one value: its parts wired together, and what it does between calls.

What a call gets is in ``answers``, HTTP is ``app``'s, the command line's options are ``__main__``'s.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

import prometheus_client as prometheus

from vgpu import reservations
from vgpu_kube import events, leadership, logs, protocol
from vgpu_webhooks.extender import (
    answers,
    bind,
    filter,  # noqa: A004 - the verb is called so
    gangs,
    grant,
    herald,
    hold,
    house,
    lead,
    leaving,
    metrics,
    preempt,
    release,
    rounds,
    turns,
    usher,
    view,
    waiting,
    writing,
)

logger = logging.getLogger(__name__)

LEASE_NAME = "vgpu-extender"

PATIENCE_SECONDS = 4.0
"""How long a call waits for a handover; kube-scheduler gives up after 5 s (httpTimeout)."""

SILENCE_SECONDS = 180.0
"""A cache that has heard nothing for so long is not to be relied on; bookmarks come about once a minute."""


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What differs between one extender and another."""

    identity: str
    namespace: str = "vgpu-system"
    lease_seconds: int = 8
    patience_seconds: float = PATIENCE_SECONDS
    clock: Callable[[], float] = time.monotonic
    now: Callable[[], datetime] = field(default=_now)
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


class Extender:
    """Answers kube-scheduler and keeps the ledger true; ``async with extender.running():`` makes it live."""

    def __init__(
        self, kube: protocol.Kube, settings: Settings, *, registry: prometheus.CollectorRegistry
    ) -> None:
        self.settings = settings
        self.broken: str | None = None  # why this process has to be started anew
        self.book = reservations.Book()
        self.metrics = metrics.Metrics(registry)
        self.view = view.View(kube, book=self.book, clock=settings.clock, sleep=settings.sleep)
        self.lead = self._made_lead(kube)
        self._house = house.House(
            self.keep_house_once, tick=self._look_at_clock, clock=settings.clock, sleep=settings.sleep
        )
        self._writer = writing.Writer(
            kube, seen=self.view, lead=self.lead, timeout_seconds=self._write_seconds
        )
        self._pod_turns = turns.Turns()
        self.releaser = self._made_releaser()
        self.gangs = gangs.Gangs(self.view)
        self.herald = self._made_herald(kube)
        self.waiting = self._made_waiting()
        self.granter = grant.Granter(
            seen=self.view, writer=self._writer, granted=self.metrics.grown, wished=self._house.hurry
        )
        self.filter = filter.Filter(
            seen=self.view, releaser=self.releaser, groups=self.gangs, clock=settings.clock
        )
        self._holder = hold.Holder(
            seen=self.view, writer=self._writer, releaser=self.releaser, clock=settings.clock
        )
        self.binder = self._made_binder()
        self.rounds = self._made_rounds()
        self.answers = self._made_answers()
        for cache in (self.view.pools, self.view.claims, self.view.nodes):
            cache.subscribe(lambda _: self._house.stir())
        self._show_gauges()

    @property
    def _write_seconds(self) -> float:
        return min(self.lead.write_seconds, protocol.DEFAULT_TIMEOUT)

    def _made_lead(self, kube: protocol.Kube) -> lead.Lead:
        settings = self.settings
        candidate = leadership.Leadership(
            kube=kube,
            name=LEASE_NAME,
            namespace=settings.namespace,
            identity=settings.identity,
            duration=settings.lease_seconds,
            clock=settings.clock,
            now=settings.now,
            sleep=settings.sleep,
        )
        return lead.Lead(
            candidate,
            kube,
            catch_up=self._catch_up,
            on_active=self._begin,
            on_standby=self._stand_back,
            clock=settings.clock,
            sleep=settings.sleep,
        )

    def _made_releaser(self) -> release.Releaser:
        return release.Releaser(
            seen=self.view,
            writer=self._writer,
            pod_turns=self._pod_turns,
            clock=self.settings.clock,
            released=lambda cause: self.metrics.released(cause.value),
            stirred=self._house.stir,
        )

    def _made_herald(self, kube: protocol.Kube) -> herald.Herald:
        recorder = events.Recorder(
            kube, component=LEASE_NAME, instance=self.settings.identity, now=self.settings.now
        )
        return herald.Herald(recorder, sleep=self.settings.sleep)

    def _made_waiting(self) -> waiting.Waiting:
        return waiting.Waiting(
            seen=self.view,
            releaser=self.releaser,
            clock=self.settings.clock,
            stirred=self._house.stir,
            left=self.herald.forget,
        )

    def _made_binder(self) -> bind.Binder:
        return bind.Binder(
            seen=self.view,
            writer=self._writer,
            releaser=self.releaser,
            holder=self._holder,
            muster=gangs.Muster(self.gangs, clock=self.settings.clock, sleep=self.settings.sleep),
            pod_turns=self._pod_turns,
        )

    def _made_rounds(self) -> rounds.Rounds:
        leader = usher.Usher(
            writer=self._writer,
            holder=self._holder,
            releaser=self.releaser,
            pod_turns=self._pod_turns,
            stamp=lambda: self.settings.now().isoformat(timespec="milliseconds"),
        )
        return rounds.Rounds(
            seen=self.view,
            room=self.waiting,
            groups=self.gangs,
            going=leaving.Leaving(self.view, stirred=self._house.stir),
            leader=leader,
            writer=self._writer,
            crier=self.herald,
            measured=self.metrics,
            clock=self.settings.clock,
        )

    def _made_answers(self) -> answers.Answers:
        return answers.Answers(
            leader=self.lead,
            filtering=self.filter,
            binder=self.binder,
            preempter=preempt.Preempter(seen=self.view),
            room=self.waiting,
            measured=self.metrics,
            patience_seconds=self.settings.patience_seconds,
        )

    def _show_gauges(self) -> None:
        self.metrics.gauge(
            "vgpu_extender_active", "1 while this is the active extender.", lambda: self.lead.active
        )
        self.metrics.gauge(
            "vgpu_placement_promises", "Places promised and not yet bound.", lambda: len(self.book.promises)
        )
        self.metrics.gauge(
            "vgpu_pods_waiting", "Pods that wait for a place.", lambda: len(self.waiting.entries)
        )
        self.metrics.gauge(
            "vgpu_pods_under_way",
            "Pods with a place that are not bound yet.",
            lambda: self.waiting.under_way,
        )

    def unready(self) -> str | None:
        """Why this process should not be relied on; None where it may be, standby or not."""
        return self.view.unready(self.settings.clock(), silence_seconds=SILENCE_SECONDS)

    @property
    def role(self) -> str:
        """Active, or standby and for whom."""
        return "active" if self.lead.active else answers.standby(self.lead)

    # Life.

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Follows the cluster, competes for the Lease, keeps house; at the end the Lease is released."""
        async with self.view.following():
            tasks = [
                asyncio.create_task(self.lead.run(), name="extender lead"),
                asyncio.create_task(self._house.keep(), name="extender housekeeping"),
                asyncio.create_task(self._house.pass_time(), name="extender tick"),
                asyncio.create_task(self.herald.run(), name="extender herald"),
            ]
            for task in tasks:
                task.add_done_callback(self._ended)
            try:
                yield
            finally:
                for task in reversed(tasks):
                    task.cancel()
                await asyncio.wait(tasks)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            self.broken = f"{task.get_name()} ended: {task.exception()!r}"
            logs.event(logger, logging.ERROR, "extender broken", reason=self.broken)

    async def keep_house_once(self) -> None:
        """Does what is due: releases, then growth, then the pods that wait.

        Growth goes before waiting pods because a slice that runs serves somebody now, and it ends at the
        claim's limits; among equals the higher priority goes first.
        """
        if not self.lead.active:
            return
        self.book.expire(self.settings.clock())
        await self.releaser.sweep()
        await self.granter.round()
        await self.rounds.round()

    def _look_at_clock(self) -> None:
        self.view.look_at_heartbeats(self.settings.now().timestamp())

    async def _catch_up(self) -> None:
        await self.view.synced()
        await self.view.refresh_nodes()
        self.book.prepare(now=self.settings.clock())

    def _begin(self) -> None:
        self.waiting.adopt([*self.view.waiting_pods(), *self.view.queued_pods()])
        self._house.stir()

    def _stand_back(self) -> None:
        """Promises bind nobody but us: another process decides now."""
        self.rounds.stop()
        self.waiting.reset()
        for slice_id in list(self.book.promises):
            self.book.cancel(slice_id)
