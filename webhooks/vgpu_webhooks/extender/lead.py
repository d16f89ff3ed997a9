"""Which of several extenders acts: the one whose own kube-scheduler calls.

kube-schedulers elect their leader among themselves; each calls the extender beside it. So a call that
reaches a standby makes it ask for the Lease, and the holder, whom nobody calls any more, hands it over.
A holder that is still called declines. Without any holder an extender takes the Lease unasked.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine

from vgpu_kube import errors, leadership, logs, patches, protocol, resources

logger = logging.getLogger(__name__)

CATCH_UP_RETRY_SECONDS = 0.5

POLL_SECONDS = 0.05
"""How often those who wait for the Lease look at it."""


class Lead:
    """Leadership as calls would have it; a fresh leader awaits ``catch_up`` before it counts as active."""

    def __init__(
        self,
        candidate: leadership.Leadership,
        kube: protocol.Kube,
        *,
        catch_up: Callable[[], Awaitable[None]],
        on_active: Callable[[], None],
        on_standby: Callable[[], None],
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._candidate = candidate
        self._kube = kube
        self._catch_up = catch_up
        self._on_active = on_active
        self._on_standby = on_standby
        self._clock = clock
        self._sleep = sleep
        self._caught_up = False
        self.reign = 0  # changes whenever leadership is lost: somebody else may have decided since
        self._called_at = float("-inf")
        self._tasks: dict[str, asyncio.Task[None]] = {}
        candidate.on_acquired = lambda: self._start("catch-up", self._become_active())
        candidate.on_lost = self._become_standby
        candidate.on_wanted = lambda wanted_by: self._start("yield", self._yield_if_idle(wanted_by))

    @property
    def active(self) -> bool:
        """True while only this process writes, for certain, and knows all that was written before.

        A write that begins then and takes at most ``write_seconds`` ends before anybody else may write: a
        sixth of the Lease's duration is ours still, and its last third is kept free by all.
        """
        return self._caught_up and self._candidate.valid(self._clock() + self._candidate.duration / 6)

    @property
    def write_seconds(self) -> float:
        """How long a write may take."""
        return self._candidate.duration / 2

    @property
    def other_holder(self) -> str | None:
        """Who else held the Lease when it was last seen."""
        holder = self._candidate.holder
        return None if holder == self._candidate.identity else holder

    async def called(self, *, patience_seconds: float) -> bool:
        """Our scheduler has called: stay active, or become it within its patience; whether this is so.

        An error would send the pod into a back-off that no event ends, so a handover is worth waiting for.
        """
        self._called_at = self._clock()
        if not self._candidate.valid():
            self._start("seek", self._seek())
        until = self._clock() + patience_seconds
        while not self.active and self._clock() < until:
            await self._sleep(POLL_SECONDS)
        return self.active

    async def sure(self, reign: int) -> bool:
        """Whether a write may begin now on what was decided in ``reign``: a late renewal is waited for."""
        until = self._clock() + self._candidate.duration / 3
        while not self.active and self.reign == reign and self._clock() < until:
            await self._sleep(POLL_SECONDS)
        return self.active and self.reign == reign

    async def run(self) -> None:
        """Competes for the Lease until cancelled, then releases it."""
        try:
            await self._candidate.run()
        finally:
            for task in self._tasks.values():
                task.cancel()

    async def _become_active(self) -> None:
        while self._candidate.valid() and not self._caught_up:
            try:
                await self._catch_up()
            except errors.KubeError as error:
                logs.event(logger, logging.WARNING, "not caught up yet", reason=error)
                await self._sleep(CATCH_UP_RETRY_SECONDS)
            else:
                self._caught_up = True
        if self._caught_up:
            logs.event(logger, logging.INFO, "extender active", identity=self._candidate.identity)
            self._on_active()

    def _become_standby(self) -> None:
        self._caught_up = False
        self.reign += 1
        if "catch-up" in self._tasks:
            self._tasks["catch-up"].cancel()  # what it has listed may be older than the next holder's writes
        logs.event(logger, logging.INFO, "extender standby", identity=self._candidate.identity)
        self._on_standby()

    async def _seek(self) -> None:
        """Asks the holder once, then looks often whether the Lease is free, for as long as it lasts."""
        try:
            await self._candidate.attempt()
            if self._candidate.valid():
                return
            await self._candidate.request_handover()
        except errors.KubeError as error:
            logs.event(logger, logging.WARNING, "handover not asked for", reason=error)
        for _ in range(20):
            await self._sleep(self._candidate.duration / 20)
            await self._candidate.attempt()
            if self._candidate.valid():
                return

    async def _yield_if_idle(self, wanted_by: str) -> None:
        asked_at = self._clock()
        await self._sleep(self._candidate.duration / 8)
        if self._called_at < asked_at:
            logs.event(logger, logging.INFO, "lease handed over", to=wanted_by)
            await self._candidate.release()
        else:
            await self._decline(wanted_by)

    async def _decline(self, wanted_by: str) -> None:
        logs.event(logger, logging.INFO, "lease kept, the scheduler still calls", wanted_by=wanted_by)
        path = patches.pointer("metadata", "annotations", leadership.WANTED_BY)
        ops = [patches.test(path, wanted_by), patches.remove(path)]
        try:
            await self._kube.patch_json(
                resources.LEASES, self._candidate.name, ops, self._candidate.namespace
            )
        except errors.KubeError as error:
            logs.event(logger, logging.INFO, "wish for the lease not removed", reason=error)

    def _start(self, name: str, work: Coroutine[None, None, None]) -> None:
        """One task of each kind at a time."""
        running = self._tasks.get(name)
        if running is not None and not (running.done() or running.cancelling()):
            work.close()
            return
        self._tasks[name] = asyncio.create_task(work, name=f"extender {name}")
