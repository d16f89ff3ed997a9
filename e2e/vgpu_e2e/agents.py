"""Plays the node agents of hand-made nodes: what the ledger allocates is reported as applied.

Labels of a Node are mirrored to its VGPUNode. Devices are published at creation (see `gpunodes`); no limit is
enforced on anything here.
"""

import asyncio
import contextlib
import datetime
from typing import Self

from vgpu_e2e import background, gpunodes, rest, workqueue
from vgpu_e2e.rest import Object

HEARTBEAT_SECONDS = 60.0


class AgentMirror:
    """Copies `spec.slices` of every VGPUNode to its `status.slices` inside the `async with`.

    A held slice keeps what was last reported of it, as one does whose memory is not yet free.
    """

    def __init__(self, api: rest.API, *, heartbeat_seconds: float = HEARTBEAT_SECONDS) -> None:
        self._api = api
        self._heartbeat_seconds = heartbeat_seconds
        self._latest: dict[str, Object] = {}
        self._labels: dict[str, dict[str, str]] = {}  # of the Nodes
        self._held: set[str] = set()
        self._tasks = background.Background()
        self._dirty = workqueue.WorkQueue()

    async def __aenter__(self) -> Self:
        self._tasks.start(self._watch_ledgers())
        self._tasks.start(self._watch_nodes())
        self._tasks.start(self._beat())
        for _ in range(gpunodes.PARALLEL):
            self._tasks.start(self._work())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._tasks.close()

    def hold(self, slice_id: str) -> None:
        """Report nothing new about a slice until it is let go."""
        self._held.add(slice_id)

    def let_go(self, slice_id: str) -> None:
        """Report about a slice again, at once."""
        self._held.discard(slice_id)
        for name in self._latest:
            self._dirty.add(name)

    async def _watch_nodes(self) -> None:
        async for kind, node in self._api.watch(gpunodes.NODES):
            name = node["metadata"]["name"]
            labels = node["metadata"].get("labels", {})
            if kind != "DELETED" and labels != self._labels.get(name):
                self._labels[name] = labels
                self._dirty.add(name)

    async def _watch_ledgers(self) -> None:
        async for kind, node in self._api.watch(gpunodes.VGPU_NODES):
            name = node["metadata"]["name"]
            if kind == "DELETED":
                self._latest.pop(name, None)
            else:
                self._see(node)
                self._dirty.add(name)

    def _see(self, node: Object) -> None:
        """Keep the newer of what is known and what the watch or an own write says."""
        known = self._latest.get(node["metadata"]["name"], node)
        if _age(node) >= _age(known):
            self._latest[node["metadata"]["name"]] = node

    async def _work(self) -> None:
        while True:
            async with self._dirty.turn() as name:
                if node := self._latest.get(name):
                    await self._settle(name, node)

    async def _settle(self, name: str, node: Object) -> None:
        if slices := changed_slices(node, held=self._held):
            await self._patch(f"{name}/status", {"status": {"slices": slices}})
        labels = node["metadata"].get("labels", {})
        if changes := changed_labels(labels, self._labels.get(name, labels)):
            await self._patch(name, {"metadata": {"labels": changes}})

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._heartbeat_seconds)
            moment = gpunodes.timestamp(datetime.datetime.now(datetime.UTC))
            turns = asyncio.Semaphore(gpunodes.PARALLEL)
            await background.together(self._beat_once(name, moment, turns) for name in list(self._latest))

    async def _beat_once(self, name: str, moment: str, turns: asyncio.Semaphore) -> None:
        async with turns:
            await self._patch(f"{name}/status", {"status": {"heartbeatTime": moment}})

    async def _patch(self, path: str, change: Object) -> None:
        with contextlib.suppress(rest.NotFoundError):  # gone meanwhile; the watch tells
            self._see(await self._api.patch(f"{gpunodes.VGPU_NODES}/{path}", change))


def changed_slices(node: Object, *, held: set[str]) -> Object:
    """Return the merge patch that makes `status.slices` say what the ledger says; empty where it does."""
    wished = node.get("spec", {}).get("slices") or {}
    reported = (node.get("status") or {}).get("slices") or {}
    changes: Object = {}
    for slice_id in (wished.keys() | reported.keys()) - held:
        if slice_id not in wished:
            changes[slice_id] = None
        elif not _says(reported.get(slice_id, {}), report := applied(wished[slice_id])):
            changes[slice_id] = report
    return changes


def changed_labels(mirrored: dict[str, str], original: dict[str, str]) -> dict[str, str | None]:
    """Return the merge patch that makes mirrored labels equal to the original ones."""
    gone: dict[str, str | None] = dict.fromkeys(mirrored.keys() - original.keys())
    return gone | {key: value for key, value in original.items() if mirrored.get(key) != value}


def applied(entry: Object) -> Object:
    """Return the status of a slice whose allocation is in force."""
    allocated = entry["allocated"]
    return {
        "memory": allocated["memory"],
        "computePercent": allocated["computePercent"],
        "revision": entry["revision"],
        "state": "Applied",
    }


def _age(node: Object) -> int:
    """Resource versions of one kind compare as integers."""
    return int(node["metadata"]["resourceVersion"])


def _says(reported: Object, report: Object) -> bool:
    """Whether all of a report stands there already; the API server adds defaults of its own."""
    return all(reported.get(field) == value for field, value in report.items())
