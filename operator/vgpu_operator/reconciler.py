"""The operator without kopf and without HTTP: view, queues, writers and clocks put together as one value.

What is decided for a pool or a claim stands in ``pools`` and ``claims``.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

from vgpu import values
from vgpu_kube import resources
from vgpu_kube.events import Recorder
from vgpu_kube.informer import Change
from vgpu_kube.objects import Key
from vgpu_kube.protocol import Kube
from vgpu_operator import known
from vgpu_operator.claims import Claims
from vgpu_operator.elasticity.loop import Loop
from vgpu_operator.escapes import Escapes
from vgpu_operator.metrics import Metrics
from vgpu_operator.pools import Pools
from vgpu_operator.publishing import Publisher
from vgpu_operator.room.maker import RoomMaker
from vgpu_operator.room.moves import Mover
from vgpu_operator.room.reclaim import Reclaimer
from vgpu_operator.room.telling import Teller
from vgpu_operator.room.wishes import Wishes
from vgpu_operator.view import View, same_but_heartbeat
from vgpu_operator.workqueue import Workqueue

ROOM_SECONDS = 1.0
"""How often claims that wait are looked at again, where room has changed."""

SILENCE_SECONDS = 15.0
"""How often pools are looked at for agents that have fallen silent; no event tells of that."""


class Reconciler:
    """Keeps statuses and ledger in step with what is there, as long as ``running`` lasts.

    ``now`` is the wall clock, ``clock`` a monotonic one, ``sleep`` waits by it.
    """

    def __init__(
        self,
        kube: Kube,
        metrics: Metrics,
        recorder: Recorder,
        *,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._sleep = sleep
        self._now = now
        self.view = View(kube, clock=clock)
        wishes = Wishes(on_wish=self._wished)
        self.pools = Pools(
            self.view,
            Publisher(kube, resources.VGPU_POOLS, self.view.pools, recorder, metrics, now=now),
            metrics,
            now=now,
        )
        self.claims = Claims(
            kube,
            self.view,
            Publisher(kube, resources.VGPU_CLAIMS, self.view.claims, recorder, metrics, now=now),
            metrics,
            wishes,
        )
        self.room = RoomMaker(
            self.view,
            wishes,
            Reclaimer(kube, self.view, metrics),
            Mover(kube, self.view, recorder, metrics, clock=clock),
            told=Teller(recorder, wake=self._claim_changed).tell,
            metrics=metrics,
            clock=clock,
        )
        self.escapes = Escapes(kube, self.view, recorder, metrics)
        self.pool_queue: Workqueue[str] = Workqueue(self.pools.reconcile, name="pool", sleep=sleep)
        self.claim_queue: Workqueue[Key] = Workqueue(self.claims.reconcile, name="claim", sleep=sleep)
        self.room_queue: Workqueue[str] = Workqueue(self.room.reconcile, name="room", sleep=sleep)
        self.escape_queue: Workqueue[str] = Workqueue(self.escapes.reconcile, name="escapes", sleep=sleep)
        self._judging = False
        self.view.nodes.subscribe(self._node_changed)
        self.view.pools.subscribe(self._pool_edited)
        self.view.subscribe(
            on_claim=self._claim_changed, on_edit=self._claim_edited, on_pool=self._pool_changed
        )

    def follow(self, loop: Loop) -> None:
        """Lets statuses tell what this loop does, and the loop know what changes."""
        self.claims.loop = loop

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Follows the cluster; nothing is judged before ``start``, on half a view."""
        async with self.view.following():
            try:
                yield
            finally:
                await self.stop()

    def start(self) -> None:
        """Begins to judge: everything that is known, and every change from now on."""
        self._judging = True
        for claim in self.view.claims.items:
            self.view.recount(claim)  # pools tell how many claims they have
        for pool in self.view.book.pools:
            self.pool_queue.wake(pool)
        for claim in self.view.claims.items:
            self.claim_queue.wake(claim)
        self._look_at_escapes()

    async def stop(self) -> None:
        """Ends all runs; nothing is written afterwards."""
        await self.pool_queue.stop()
        await self.claim_queue.stop()
        await self.escape_queue.stop()
        await self.room_queue.stop()

    async def look_for_room(self) -> None:
        """Looks at claims that wait again and again, where room has changed; runs until cancelled."""
        while True:
            await self._sleep(ROOM_SECONDS)
            for claim in self.claims.due():
                self.claim_queue.wake(claim)
            self.room.count()
            for pool in self.room.due():
                self.room_queue.wake(pool)

    async def look_for_silence(self) -> None:
        """Looks at every pool again and again; runs until cancelled."""
        while True:
            await self._sleep(SILENCE_SECONDS)
            for pool in self.view.look_at_heartbeats(self._now()):
                self.claims.room_changed(pool)
                self.room.pool_changed(pool)
            for pool in self.view.book.pools:
                self.pool_queue.wake(pool)

    def _claim_changed(self, claim: Key) -> None:
        if self.claims.loop is not None:
            self.claims.loop.claim_changed(claim)
        if self._judging:
            self.claim_queue.wake(claim)

    def _claim_edited(self, claim: Key) -> None:
        if self._judging:
            self.claim_queue.hurry(claim)

    def _pool_changed(self, pool: str) -> None:
        self.claims.room_changed(pool)
        self.room.room_changed(pool)
        if self._judging:
            self.pool_queue.wake(pool)
            self._look_at_escapes()

    def _wished(self, pool: str) -> None:
        if self._judging:
            self.room_queue.wake(pool)

    def _pool_edited(self, change: Change[known.Pool]) -> None:
        old, new = change.old, change.new
        if old is None or new is None or replace(old.pool, quotas=new.pool.quotas) != new.pool:
            self.room.pool_changed(change.key[1])

    def _node_changed(self, change: Change[values.Node]) -> None:
        speaks_again = change.key[1] in self.view.book.silent
        if speaks_again or not same_but_heartbeat(change.old, change.new):
            self.room.node_changed(change.key[1])
        if self.escapes.see(change) and self._judging:
            self.escape_queue.wake(change.key[1])

    def _look_at_escapes(self) -> None:
        for node in self.escapes.nodes:
            self.escape_queue.wake(node)
