"""Events: what happened to an object, for people who describe it.

What is worth an Event, and its words, is decided by whoever records it.
"""

# ruff: noqa: A002 -- type is the field's name in the API

import hashlib
import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from vgpu_kube import errors, objects
from vgpu_kube.objects import Key, Object
from vgpu_kube.protocol import Kube
from vgpu_kube.resources import EVENTS

logger = logging.getLogger(__name__)

NOTE_BYTES = 1024
INSTANCE_CHARACTERS = 128
NAME_CHARACTERS = 253
"""Bounds of the API server (events.k8s.io/v1 validation)."""

SERIES_ENDS = timedelta(minutes=6)
"""After this long without a repetition the next one is a new Event, as in client-go's recorder."""

SERIES_REFRESH = timedelta(seconds=10)
"""How often a series is written at most; repetitions in between are counted and written with the next."""

SERIES_KEPT = 4096


class EventType(StrEnum):
    """Normal, or something a person should look at."""

    NORMAL = "Normal"
    WARNING = "Warning"


@dataclass(slots=True)
class _Series:
    """An Event already written, and how often it has happened by now."""

    key: Key
    last: datetime
    written: datetime
    count: int = 1
    written_count: int = 1


@dataclass(slots=True)
class Recorder:
    """Records Events of one component; ``instance`` tells its processes apart.

    ``record`` never raises because of the cluster: what could not be written is counted in ``failures``.
    """

    kube: Kube
    component: str
    instance: str
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    failures: int = 0
    _series: OrderedDict[tuple[str, ...], _Series] = field(default_factory=OrderedDict)

    async def record(
        self, regarding: Object, type: EventType | str, reason: str, note: str, action: str
    ) -> None:
        """Writes one Event about an object reference, or adds to the series of its repetitions.

        ``reason`` and ``action`` are CamelCase words of at most 128 characters; a note is cut at 1 KiB.
        """
        try:
            await self._record(regarding, str(type), reason, _cut(note, NOTE_BYTES), action)
        except errors.KubeError as error:
            self.failures += 1
            name = regarding.get("name")
            logger.warning("event not recorded object=%s reason=%s error=%s", name, reason, error)

    async def flush(self) -> None:
        """Writes the repetitions that have only been counted; for a clean stop."""
        for series in self._series.values():
            if series.count > series.written_count:
                try:
                    await self._write(series)
                except errors.KubeError as error:
                    self.failures += 1
                    logger.warning("event not recorded event=%s error=%s", series.key[1], error)

    async def _record(self, regarding: Object, type: str, reason: str, note: str, action: str) -> None:
        now = self.now()
        same = (regarding.get("kind", ""), regarding.get("namespace", ""), regarding.get("name", ""))
        identity = (*same, regarding.get("uid", ""), type, reason, note, action)
        series = self._series.get(identity)
        if series is not None and now - series.last < SERIES_ENDS:
            self._series.move_to_end(identity)
            if await self._repeat(series, now):
                return
        body = self._event(identity, regarding, now)
        await self.kube.create(EVENTS, body)
        self._remember(identity, _Series(objects.key(body), last=now, written=now))

    def _event(self, identity: tuple[str, ...], regarding: Object, now: datetime) -> Object:
        _, _, _, _, type_, reason, note, action = identity
        return {
            "metadata": {
                "name": self._name(identity, now),
                "namespace": regarding.get("namespace") or "default",
            },
            "eventTime": _micro_time(now),
            "reportingController": self.component,
            "reportingInstance": self.instance[:INSTANCE_CHARACTERS],
            "regarding": regarding,
            "type": type_,
            "reason": reason,
            "note": note,
            "action": action,
        }

    def _name(self, identity: tuple[str, ...], now: datetime) -> str:
        """The object's name and a digest, so that one Event written twice by mistake is one Event."""
        text = "\0".join((*identity, self.component, self.instance, now.isoformat()))
        digest = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
        return f"{identity[2][: NAME_CHARACTERS - len(digest) - 1].rstrip('.-')}.{digest}"

    async def _repeat(self, series: _Series, now: datetime) -> bool:
        """Counts a repetition and writes it when it is time; False where the Event is there no more."""
        series.count += 1
        series.last = now
        if series.written_count > 1 and now - series.written < SERIES_REFRESH:
            return True
        try:
            await self._write(series)
        except errors.NotFound:
            return False
        return True

    async def _write(self, series: _Series) -> None:
        namespace, name = series.key
        patch = {"series": {"count": series.count, "lastObservedTime": _micro_time(series.last)}}
        written_count = series.count
        await self.kube.patch_merge(EVENTS, name, patch, namespace)
        series.written, series.written_count = series.last, written_count

    def _remember(self, identity: tuple[str, ...], series: _Series) -> None:
        self._series[identity] = series
        self._series.move_to_end(identity)
        if len(self._series) > SERIES_KEPT:
            self._series.popitem(last=False)


def reference(raw: Object) -> Object:
    """The object reference by which Events regard an object."""
    metadata = raw["metadata"]
    named = {
        name: metadata[name] for name in ("namespace", "name", "uid", "resourceVersion") if name in metadata
    }
    return {"apiVersion": raw["apiVersion"], "kind": raw["kind"], **named}


def _micro_time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _cut(text: str, limit: int) -> str:
    """At most ``limit`` bytes of a text, whole characters, an ellipsis where something is missing."""
    encoded = text.encode()
    if len(encoded) <= limit:
        return text
    return encoded[: limit - 3].decode(errors="ignore") + "…"
