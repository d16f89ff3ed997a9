"""A cache of one kind of object that follows the cluster, and tells what changed.

List, then watch, for as long as it runs. What the values mean is the business of whoever decodes them;
the rules of the cache itself stand in ``vgpu_kube.cache``.
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing
from types import TracebackType
from typing import Any, Generic, Self, TypeVar, cast, overload

from vgpu_kube import errors, objects, selectors
from vgpu_kube.backoff import Backoff
from vgpu_kube.cache import Cache, Change, ChangeKind, DecodeError, Replacement, identity
from vgpu_kube.objects import Key, Object
from vgpu_kube.protocol import DEFAULT_TIMEOUT, WATCH_SECONDS, Kube, ListResult, WatchEvent
from vgpu_kube.resources import Resource

__all__ = ["Change", "ChangeKind", "DecodeError", "Informer", "identity"]

T = TypeVar("T")

logger = logging.getLogger(__name__)

SLICE_SECONDS = 0.02
"""How long the informer keeps the event loop to itself at most, callbacks included."""

LONGEST_PAUSE_SECONDS = 3.0  # one request per kind in so long harms nobody; a stale cache does
SETTLED_SECONDS = 1.0
"""A watch that ends sooner counts as a failure, lest a server that closes at once be hammered."""


class Informer(Generic[T]):
    """The selected objects of one kind, decoded, by namespace and name.

    ``async with informer:`` starts and stops it; ``run`` is the task itself. Everything happens in the
    event loop's thread, callbacks synchronously and in order. A subscriber that raises is logged and
    does not disturb the others; a value that cannot be decoded is reported and leaves the last good one.
    """

    @overload
    def __init__(
        self: "Informer[Object]",
        kube: Kube,
        resource: Resource,
        *,
        namespace: str | None = None,
        labels: str | None = None,
        fields: str | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        rng: random.Random | None = None,
    ) -> None: ...

    @overload
    def __init__(
        self: "Informer[T]",
        kube: Kube,
        resource: Resource,
        *,
        namespace: str | None = None,
        labels: str | None = None,
        fields: str | None = None,
        decode: Callable[[Object], T],
        on_decode_error: Callable[[DecodeError], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        rng: random.Random | None = None,
    ) -> None: ...

    def __init__(
        self,
        kube: Kube,
        resource: Resource,
        *,
        namespace: str | None = None,
        labels: str | None = None,
        fields: str | None = None,
        decode: Callable[[Object], Any] = identity,
        on_decode_error: Callable[[DecodeError], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        rng: random.Random | None = None,
    ) -> None:
        self._kube = kube
        self._resource = resource
        self._namespace = namespace
        self._labels = labels
        self._fields = fields
        self._clock = clock
        self._sleep = sleep
        self._rng = rng or random.Random()  # noqa: S311 -- jitter, no secret
        self._backoff = Backoff(limit=LONGEST_PAUSE_SECONDS, rng=self._rng)
        self._cache: Cache[T] = Cache(
            cast(Callable[[Object], T], decode), on_decode_error or _log_decode_error
        )
        self._continue_from: str | None = None
        self._last_contact: float | None = None
        self._synced = asyncio.Event()
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self._yielded = clock()
        self._task: asyncio.Task[None] | None = None

    @property
    def items(self) -> Mapping[Key, T]:
        """The cached values by (namespace or None, name): a live view, not a copy."""
        return self._cache.items

    def version(self, key: Key) -> int | None:
        """The resourceVersion of a cached value, as a number."""
        return self._cache.version(key)

    @property
    def last_contact(self) -> float | None:
        """When the server last sent anything, by the injected clock; bookmarks come about once a minute."""
        return self._last_contact

    @property
    def has_synced(self) -> bool:
        """True once the first list is in the cache."""
        return self._synced.is_set()

    async def synced(self) -> None:
        """Returns once the first list is in the cache."""
        await self._synced.wait()

    def subscribe(self, callback: Callable[[Change[T]], None]) -> Callable[[], None]:
        """Calls back for every change, at once for what is cached already; returns what ends that."""
        return self._cache.subscribe(callback)

    def observe(self, raw: Object) -> None:
        """Folds the answer of an own write into the cache, unless the watch has been further already."""
        if self._namespace is not None and raw["metadata"].get("namespace") != self._namespace:
            return
        if selectors.selects(raw, labels=self._labels, fields=self._fields):
            self._cache.observe(raw)

    async def reached(self, resource_version: str | int, *, timeout: float = DEFAULT_TIMEOUT) -> None:  # noqa: ASYNC109 -- the contract of the door: nothing waits for ever
        """Returns when the watch has delivered everything up to a version; TimeoutError after ``timeout``."""
        wanted = objects.revision(str(resource_version))
        if self._cache.reached >= wanted:
            return
        future = asyncio.get_running_loop().create_future()
        self._waiting.append((wanted, future))
        async with asyncio.timeout(timeout):
            await future

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self.run(), name=f"informer {self._resource}")
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
        """Follows the cluster until cancelled."""
        while True:
            try:
                pause = await self._follow()
            except errors.Gone as error:
                self._continue_from = None
                pause = self._backoff.failed()
                logger.info(
                    "version gone, listing again resource=%s reason=%s", self._resource, error.message
                )
            except errors.KubeError as error:
                pause = max(self._backoff.failed(), error.retry_after or 0.0)
                logger.warning("watch failed resource=%s reason=%s pause=%.2f", self._resource, error, pause)
            if pause:
                await self._sleep(pause)

    async def _follow(self) -> float:
        """One list if there is nothing to continue from, one watch; the seconds to pause afterwards."""
        if self._continue_from is None:
            await self._list()
        started = self._clock()
        await self._watch()
        logger.debug("watch ended resource=%s continue=%s", self._resource, self._continue_from)
        if self._clock() - started < SETTLED_SECONDS:
            return self._backoff.failed()
        self._backoff.succeeded()
        return 0.0

    async def _list(self) -> None:
        """Puts a list into the cache page by page, so that no more than one page is held raw."""
        pages = self._kube.pages(self._resource, self._namespace, self._labels, self._fields)
        async with aclosing(pages):
            first = await anext(pages)
            with self._cache.replacing(first.resource_version) as replacement:
                await self._put(replacement, first)
                async for page in pages:
                    await self._put(replacement, page)
                await self._paced(replacement.drop, replacement.missing())
        self._continue_from = first.resource_version
        self._notify()
        self._synced.set()
        logger.info("cache listed resource=%s objects=%d", self._resource, len(self.items))

    async def _put(self, replacement: Replacement[T], page: ListResult) -> None:
        self._contact()
        await self._paced(replacement.put, page.items)

    async def _watch(self) -> None:
        assert self._continue_from is not None, "a watch continues from a list"
        timeout = WATCH_SECONDS * self._rng.uniform(1.0, 2.0)
        events = self._kube.watch(
            self._resource, self._continue_from, self._namespace, self._labels, self._fields, timeout=timeout
        )
        async with aclosing(events):
            async for event in events:
                self._contact()
                self._take(event)
                await self._pace()

    def _take(self, event: WatchEvent) -> None:
        self._backoff.succeeded()
        version = objects.resource_version(event.object)
        if event.type == "DELETED":
            self._cache.delete(event.object)
        elif event.type != "BOOKMARK":
            self._cache.put(event.object)
        self._cache.advance(version)
        self._continue_from = version
        self._notify()

    def _contact(self) -> None:
        self._last_contact = self._clock()

    def _notify(self) -> None:
        """Wakes those who wait for a version that has been reached."""
        if not self._waiting:
            return
        for wanted, future in self._waiting:
            if self._cache.reached >= wanted and not future.done():
                future.set_result(None)
        self._waiting = [(wanted, future) for wanted, future in self._waiting if not future.done()]

    async def _paced(self, step: Callable[[Any], None], things: Iterable[Any]) -> None:
        for thing in things:
            step(thing)
            await self._pace()

    async def _pace(self) -> None:
        """Lets others run when our slice of time is used up."""
        if self._clock() - self._yielded >= SLICE_SECONDS:
            await asyncio.sleep(0)
            self._yielded = self._clock()


def _log_decode_error(error: DecodeError) -> None:
    logger.error("object not understood key=%s reason=%s", error.key, error.cause)
