"""Objects, the order in which they changed, and the watches that are told; etcd's part of a cluster."""

import asyncio
import copy
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass, field

from vgpu_kube import errors, selectors
from vgpu_kube.objects import Key, Object
from vgpu_kube.protocol import WatchEvent
from vgpu_kube.resources import Resource


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What a list or a watch asks for."""

    resource: Resource
    namespace: str | None
    labels: str | None
    fields: str | None

    def selects(self, raw: Object | None) -> bool:
        """True for an object (None: there is none) of this selection."""
        if raw is None or (self.namespace is not None and raw["metadata"].get("namespace") != self.namespace):
            return False
        return selectors.selects(raw, labels=self.labels, fields=self.fields)


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """One change: ``old`` is None for a creation; where ``gone``, ``new`` is the last of a deleted object."""

    version: int
    resource: Resource
    old: Object | None
    new: Object
    gone: bool

    def event(self, selection: Selection) -> WatchEvent | None:
        """What a watch of that selection hears: an object that leaves the selection is deleted to it."""
        if self.resource != selection.resource:
            return None
        before, after = selection.selects(self.old), not self.gone and selection.selects(self.new)
        if not before and not after:
            return None
        kind = "MODIFIED" if before and after else "ADDED" if after else "DELETED"
        return WatchEvent(kind, copy.deepcopy(self.new))


@dataclass(slots=True, eq=False)
class Watcher:
    """One open watch; None in its queue ends it in good order, an error breaks it."""

    selection: Selection
    queue: asyncio.Queue[WatchEvent | errors.KubeError | None] = field(default_factory=asyncio.Queue)

    def tell(self, written: Written) -> None:
        """Queues the change if it concerns this watch."""
        if event := written.event(self.selection):
            self.queue.put_nowait(event)


class Store:
    """Every object of the cluster at its newest version, and the history since the last compaction."""

    def __init__(self) -> None:
        self.version = 1
        self._objects: dict[Resource, dict[Key, Object]] = {}
        self._history: list[Written] = []
        self.compacted = 0
        self._watchers: list[Watcher] = []
        self._held: list[Written] | None = None

    def find(self, resource: Resource, key: Key) -> Object | None:
        """The object itself, not a copy; nobody may change it."""
        return self._objects.get(resource, {}).get(key)

    def select(self, selection: Selection) -> list[Object]:
        """Copies of the selected objects, by namespace and name."""
        found = sorted(
            self._objects.get(selection.resource, {}).items(), key=lambda item: (item[0][0] or "", item[0][1])
        )
        return [copy.deepcopy(raw) for _, raw in found if selection.selects(raw)]

    def all(self) -> Iterator[tuple[Resource, Key, Object]]:
        """Every object, as of the moment of the call."""
        kinds = [(resource, [*objects.items()]) for resource, objects in self._objects.items()]
        return ((resource, key, raw) for resource, objects in kinds for key, raw in objects)

    def write(self, resource: Resource, key: Key, raw: Object, *, gone: bool = False) -> Object:
        """Stores the object (or its end) under a new version and tells the watches."""
        self.version += 1
        raw["metadata"]["resourceVersion"] = str(self.version)
        kind = self._objects.setdefault(resource, {})
        old = kind.pop(key, None) if gone else kind.get(key)
        if not gone:
            kind[key] = raw
        self._publish(Written(version=self.version, resource=resource, old=old, new=raw, gone=gone))
        return raw

    def _publish(self, written: Written) -> None:
        self._history.append(written)
        if self._held is not None:
            self._held.append(written)
            return
        for watcher in self._watchers:
            watcher.tell(written)

    def hold(self) -> None:
        """Watches hear nothing until :meth:`release`, as when they lag."""
        self._held = [] if self._held is None else self._held

    def release(self) -> None:
        """Watches hear what was held back."""
        held, self._held = self._held or [], None
        for written in held:
            for watcher in self._watchers:
                watcher.tell(written)

    def compact(self) -> None:
        """Forgets the history: watches from before now are gone."""
        self._history.clear()
        self.compacted = self.version

    def bookmark(self) -> None:
        """Tells every watch the present version."""
        for watcher in self._watchers:
            raw = {
                "apiVersion": watcher.selection.resource.api_version,
                "kind": watcher.selection.resource.kind,
                "metadata": {"resourceVersion": str(self.version)},
            }
            watcher.queue.put_nowait(WatchEvent("BOOKMARK", raw))

    def end_watches(self, error: errors.KubeError | None = None) -> None:
        """Ends every watch after what it has queued, in good order or with an error."""
        for watcher in self._watchers:
            watcher.queue.put_nowait(error)
        self._watchers.clear()

    @property
    def watching(self) -> int:
        """How many watches are open."""
        return len(self._watchers)

    async def watch(self, selection: Selection, version: int) -> AsyncGenerator[WatchEvent, None]:
        """What happens to a selection after a version."""
        if version < self.compacted:
            raise errors.Gone(410, "Expired", f"too old resource version: {version} ({self.compacted})")
        watcher = Watcher(selection)
        held = {written.version for written in self._held or ()}
        for written in self._history:
            if written.version > version and written.version not in held:
                watcher.tell(written)
        self._watchers.append(watcher)
        try:
            while (event := await watcher.queue.get()) is not None:
                if isinstance(event, errors.KubeError):
                    raise event
                yield event
        finally:
            if watcher in self._watchers:
                self._watchers.remove(watcher)
