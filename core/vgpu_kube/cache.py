"""What an informer knows: decoded values by key, the order of versions, and who is told of changes.

No request is sent from here and nothing waits. The rules that keep a cache from going back in time:

* A value gives way only to a newer version of its object (``put``, ``observe``) or to a deletion that is
  not older.
* ``reached`` is the version up to which the watch has delivered everything. An own write's answer that is
  not newer than that is old news (its object may be deleted again) and is not folded in.
* A list replaces all that is not newer than itself. A list older than ``reached`` means that the server's
  history was reset, such as by a restored backup: then it replaces everything.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Generic, TypeVar

from vgpu_kube import objects
from vgpu_kube.objects import Key, Object

T = TypeVar("T")

logger = logging.getLogger(__name__)


class ChangeKind(Enum):
    """What happened to an object."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"


@dataclass(frozen=True, slots=True)
class Change(Generic[T]):
    """One object before and after; ``raw`` is what was received, None where only its absence was seen."""

    kind: ChangeKind
    key: Key
    old: T | None
    new: T | None
    raw: Object | None


@dataclass(frozen=True, slots=True)
class DecodeError:
    """An object that the decoder refused, and why."""

    key: Key
    raw: Object
    cause: Exception


def identity(raw: Object) -> Object:
    """The raw object as it is."""
    return raw


class Cache(Generic[T]):
    """Decoded values that never go back in time."""

    def __init__(self, decode: Callable[[Object], T], on_decode_error: Callable[[DecodeError], None]) -> None:
        self._decode = decode
        self._on_decode_error = on_decode_error
        self._items: dict[Key, T] = {}
        self._versions: dict[Key, int] = {}
        self._subscribers: list[Callable[[Change[T]], None]] = []
        self.items: Mapping[Key, T] = MappingProxyType(self._items)
        self.reached = 0
        self._old_news = 0  # up to where an own write's answer is; runs ahead of reached while a list goes in

    def version(self, key: Key) -> int | None:
        """The version of a value, None where there is no value."""
        return self._versions.get(key) if key in self._items else None

    def subscribe(self, callback: Callable[[Change[T]], None]) -> Callable[[], None]:
        """Calls back for what is here and for every change to come; returns what ends that."""
        for key, value in self._items.items():
            _tell(callback, Change(ChangeKind.ADDED, key, None, value, None))
        self._subscribers.append(callback)

        def unsubscribe() -> None:
            if callback in self._subscribers:
                self._subscribers.remove(callback)

        return unsubscribe

    def put(self, raw: Object) -> None:
        """Takes an object that the watch or a list delivered."""
        key = objects.key(raw)
        version = objects.revision(objects.resource_version(raw))
        if version > self._versions.get(key, -1):
            self._store(key, version, raw)

    def observe(self, raw: Object) -> None:
        """Takes the answer of an own write, if the watch has not been there yet."""
        if objects.revision(objects.resource_version(raw)) > self._old_news:
            self.put(raw)

    def delete(self, raw: Object) -> None:
        """Takes a deletion, unless a successor of the object is known."""
        key = objects.key(raw)
        if objects.revision(objects.resource_version(raw)) >= self._versions.get(key, -1):
            self._forget(key, raw)

    def advance(self, resource_version: str) -> None:
        """Everything up to this version has been delivered."""
        self.reached = max(self.reached, objects.revision(resource_version))
        self._old_news = max(self._old_news, self.reached)

    @contextmanager
    def replacing(self, resource_version: str) -> Iterator["Replacement[T]"]:
        """A replacement of everything that is not newer than a list."""
        version = objects.revision(resource_version)
        if version < self.reached:
            logger.warning("history reset, cache replaced reached=%d listed=%d", self.reached, version)
            self.reached = self._old_news = 0
            self._versions = dict.fromkeys(self._versions, -1)
        yield Replacement(self, version)
        self.advance(resource_version)

    def _store(self, key: Key, version: int, raw: Object) -> None:
        self._versions[key] = version
        try:
            value = self._decode(raw)
        except Exception as error:  # whatever a decoder trips over must not end the watch of all others
            self._on_decode_error(DecodeError(key, raw, error))
            return
        old = self._items.get(key)
        kind = ChangeKind.MODIFIED if key in self._items else ChangeKind.ADDED
        self._items[key] = value
        self._tell_all(Change(kind, key, old, value, raw))

    def _forget(self, key: Key, raw: Object | None) -> None:
        self._versions.pop(key, None)
        if key in self._items:
            self._tell_all(Change(ChangeKind.DELETED, key, self._items.pop(key), None, raw))

    def _tell_all(self, change: Change[T]) -> None:
        for callback in tuple(self._subscribers):
            _tell(callback, change)


class Replacement(Generic[T]):
    """A list on its way into a cache, in steps small enough to let others run between them."""

    def __init__(self, cache: Cache[T], version: int) -> None:
        self._cache = cache
        self._version = version
        self._listed: set[Key] = set()

    def put(self, raw: Object) -> None:
        """Takes one object of the list."""
        self._listed.add(objects.key(raw))
        self._cache.put(raw)

    def missing(self) -> list[Key]:
        """What the list no longer holds; own writes that are not newer than it are old news from here on."""
        self._cache._old_news = max(self._cache._old_news, self._version)
        return [key for key in self._cache._versions if key not in self._listed and self._stale(key)]

    def drop(self, key: Key) -> None:
        """Takes the deletion of one object that is missing, unless a successor appeared meanwhile."""
        if self._stale(key):
            self._cache._forget(key, None)

    def _stale(self, key: Key) -> bool:
        return self._cache._versions.get(key, -1) <= self._version


def _tell(callback: Callable[[Change[T]], None], change: Change[T]) -> None:
    try:
        callback(change)
    except Exception:  # one subscriber's mistake must not cost the others, or the watch, an event
        logger.exception("subscriber failed key=%s kind=%s", change.key, change.kind.value)
