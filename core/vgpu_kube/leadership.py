"""One active process among several: a coordination.k8s.io Lease held by compare-and-swap.

The clocks of the processes are never compared. A candidate takes a Lease over when it has itself seen it
unchanged for as long as the holder may rely on it; the holder relies on it only from before its last
renewal was sent, and for two thirds of that time: the last third is for writes on their way.
Times in the Lease are for people to read. Deleting the Lease by hand gives all of this up.
"""

import asyncio
import logging
import math
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from vgpu.api import names
from vgpu_kube import errors, objects, patches
from vgpu_kube.objects import Object
from vgpu_kube.protocol import Kube, Op
from vgpu_kube.resources import LEASES

logger = logging.getLogger(__name__)

WANTED_BY = f"{names.GROUP}/wanted-by"
"""Annotation on a Lease: the candidate that asks the holder to hand over."""


def _nothing() -> None:
    """What happens where nobody asked to be told."""


@dataclass(slots=True, kw_only=True)
class Leadership:
    """A candidate for, or the holder of, one Lease; ``run`` competes until cancelled, then releases.

    ``identity`` must be one process's own (a pod's name and a random part): a Lease that another process
    holds under the same identity is never taken for ours. ``duration`` in whole seconds is how long
    the others wait for a holder that is silent. ``on_lost`` is called before a release is written.
    """

    kube: Kube
    name: str
    namespace: str
    identity: str
    duration: int = 15
    clock: Callable[[], float] = time.monotonic
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    rng: random.Random = field(default_factory=random.Random)
    on_acquired: Callable[[], None] = _nothing
    on_lost: Callable[[], None] = _nothing
    on_wanted: Callable[[str], None] = lambda identity: None
    _lease: Object | None = None
    _seen_at: float = -math.inf
    _claims: set[str] = field(
        default_factory=set
    )  # acquireTimes we wrote: what tells our Lease from a namesake's
    _valid_until: float = -math.inf
    _leading: bool = False
    _releasing: bool = False
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)  # a release and a renewal never overlap
    _task: asyncio.Task[None] | None = None

    def valid(self, now: float | None = None) -> bool:
        """True while it is certain that nobody else holds the Lease; ``now`` by the injected clock."""
        return not self._releasing and (self.clock() if now is None else now) < self._valid_until

    @property
    def holder(self) -> str | None:
        """Who held the Lease when it was last seen."""
        return _spec(self._lease).get("holderIdentity") or None

    @property
    def wanted_by(self) -> str | None:
        """Who else asked for the Lease when it was last seen."""
        wanted = ((self._lease or {}).get("metadata", {}).get("annotations") or {}).get(WANTED_BY)
        return wanted if wanted != self.identity else None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self.run(), name=f"leadership {self.name}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            if error is None and not self._task.cancelled():
                self._task.result()  # what ended it early must not go unnoticed

    async def run(self) -> None:
        """Acquires and renews until cancelled, then releases."""
        try:
            while True:
                await self.attempt()
                await self.sleep(self.duration / 6 * self.rng.uniform(0.8, 1.2))
        finally:
            await self.release()

    async def attempt(self) -> None:
        """One round: renews the Lease if it is ours, takes it if it is free, and tells what changed."""
        try:
            async with asyncio.timeout(self.duration / 3), self._turn:
                await self._compete()
        except (errors.KubeError, TimeoutError) as error:
            logger.warning("lease not renewed lease=%s holder=%s error=%s", self.name, self.holder, error)
        self._tell()

    async def release(self) -> None:
        """Gives the Lease up, if it is ours, so that the next attempt of another one takes it."""
        self._releasing = True
        self._tell()
        try:
            async with asyncio.timeout(self.duration / 3), self._turn:
                self._valid_until = -math.inf
                await self._vacate()
        except (errors.KubeError, TimeoutError) as error:
            logger.warning("lease not released lease=%s error=%s", self.name, error)
        finally:
            self._valid_until = -math.inf
            self._releasing = False

    async def request_handover(self) -> None:
        """Asks the holder to release in our favour; it sees that with its next renewal."""
        patch = {"metadata": {"annotations": {WANTED_BY: self.identity}}}
        await self.kube.patch_merge(LEASES, self.name, patch, self.namespace)

    async def _compete(self) -> None:
        if not self._ours():
            self._see(await self._read())
        for _ in range(2):  # the second time with what a conflict made us read
            with suppress(errors.Conflict, errors.AlreadyExists, errors.NotFound):
                await self._act()
                return
            self._see(await self._read())

    async def _vacate(self) -> None:
        while self._lease is not None and self._ours():
            try:
                self._see(await self._swap(self._lease, [patches.add("/spec/holderIdentity", "")]))
                logger.info("lease released lease=%s identity=%s", self.name, self.identity)
            except errors.Conflict:  # somebody asked for it meanwhile
                self._see(await self._read())

    async def _act(self) -> None:
        """What is to be done with the Lease as it was last seen."""
        if self._lease is None:
            await self._create()
        elif self._ours():
            await self._renew(self._lease)
        elif self._takeable():
            await self._take(self._lease)

    async def _read(self) -> Object | None:
        try:
            return await self.kube.get(LEASES, self.name, self.namespace)
        except errors.NotFound:
            return None

    def _see(self, lease: Object | None) -> None:
        """Notes a Lease, and by our own clock when its holder last gave a sign of life."""
        if lease is None or _sign_of_life(lease) != _sign_of_life(self._lease):
            self._seen_at = self.clock()
        asked_before = self.wanted_by
        self._lease = lease
        if self.wanted_by and self.wanted_by != asked_before and self._ours():
            logger.info("lease wanted lease=%s by=%s", self.name, self.wanted_by)
            self.on_wanted(self.wanted_by)

    def _ours(self) -> bool:
        spec = _spec(self._lease)
        return spec.get("holderIdentity") == self.identity and spec.get("acquireTime") in self._claims

    def _takeable(self) -> bool:
        """True for a Lease without a living holder, unless somebody else asked for it and may still come."""
        waited = self.clock() - self._seen_at
        if self.holder is None and self.wanted_by is None:
            return True
        return waited >= float(_spec(self._lease).get("leaseDurationSeconds", self.duration))

    async def _create(self) -> None:
        sent_at = self.clock()
        body = {"metadata": {"name": self.name}, "spec": {**self._claim(), "leaseTransitions": 0}}
        self._hold(await self.kube.create(LEASES, body, self.namespace), sent_at)

    async def _take(self, lease: Object) -> None:
        transitions = _spec(lease).get("leaseTransitions", 0) + 1
        sent_at = self.clock()
        ops = [patches.add("/spec", {**self._claim(), "leaseTransitions": transitions})]
        if WANTED_BY in (lease["metadata"].get("annotations") or {}):
            ops.append(patches.remove(patches.pointer("metadata", "annotations", WANTED_BY)))
        self._hold(await self._swap(lease, ops), sent_at)

    async def _renew(self, lease: Object) -> None:
        sent_at = self.clock()
        self._hold(await self._swap(lease, [patches.add("/spec/renewTime", self._moment())]), sent_at)

    async def _swap(self, lease: Object, ops: list[Op]) -> Object:
        return await self.kube.patch_json(LEASES, self.name, [patches.unchanged(lease), *ops], self.namespace)

    def _claim(self) -> dict[str, Any]:
        moment = self._moment()
        self._claims.add(moment)
        return {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": self.duration,
            "acquireTime": moment,
            "renewTime": moment,
        }

    def _hold(self, lease: Object, sent_at: float) -> None:
        self._see(lease)
        self._valid_until = sent_at + self.duration * 2 / 3

    def _moment(self) -> str:
        return self.now().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    def _tell(self) -> None:
        """Calls back where what is certain differs from what was told last."""
        leading = self.valid()
        if leading == self._leading:
            return
        self._leading = leading
        logger.info("leadership changed lease=%s identity=%s leading=%s", self.name, self.identity, leading)
        (self.on_acquired if leading else self.on_lost)()


def _spec(lease: Object | None) -> dict[str, Any]:
    spec: dict[str, Any] = (lease or {}).get("spec") or {}
    return spec


def _sign_of_life(lease: Object | None) -> tuple[str | None, ...]:
    """What changes with each renewal, whatever a clock says; annotations of others do not count."""
    if lease is None:
        return ()
    spec = _spec(lease)
    return objects.uid(lease), spec.get("holderIdentity"), spec.get("renewTime"), spec.get("acquireTime")
