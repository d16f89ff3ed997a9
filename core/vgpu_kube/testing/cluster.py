"""The requests of :class:`~vgpu_kube.protocol.Kube`, answered from memory, and what tests do behind them."""

# ruff: noqa: ASYNC109 -- the timeout is part of the interface; memory always answers in time

import asyncio
import copy
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from vgpu_kube import errors, objects
from vgpu_kube.objects import Key, Object
from vgpu_kube.protocol import DEFAULT_TIMEOUT, WATCH_SECONDS, ListResult, Ops, WatchEvent
from vgpu_kube.resources import PODS, Resource
from vgpu_kube.testing import mutations, ownership, rules
from vgpu_kube.testing.requests import Failure, Moment, Request
from vgpu_kube.testing.store import Selection, Store

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


class Cluster:
    """An API server in memory.

    ``on_request`` is called before and after every request takes effect; what it raises reaches the
    caller in place of the answer, so that a test can kill a writer on either side of a write. It may be
    asynchronous and let others go first. Deleted pods that are bound stay, terminating, until a test
    deletes them with ``grace_seconds=0`` as their node would.
    """

    def __init__(self, *, now: Callable[[], datetime] = lambda: EPOCH) -> None:
        self.on_request: Callable[[Request, Moment], Awaitable[None] | None] | None = None
        self.requests: list[Request] = []
        self.page_size = 500
        self._now = now
        self._store = Store()
        self._owners: dict[tuple[Resource, str], ownership.Owners] = {}
        self._failures: list[Failure] = []
        self._born = 0

    # What a test does behind the requests' back.

    def add(self, resource: Resource, body: Object, namespace: str | None = None) -> Object:
        """Puts an object there as it is, status included; unlike ``create`` it is no request."""
        raw = self._born_from(resource, body, namespace)
        if "status" in body:
            raw["status"] = copy.deepcopy(body["status"])
        return copy.deepcopy(self._store.write(resource, objects.key(raw), raw))

    def objects(self, resource: Resource, namespace: str | None = None) -> list[Object]:
        """Every object of a kind, by namespace and name; no request."""
        return self._store.select(Selection(resource=resource, namespace=namespace, labels=None, fields=None))

    def remove(self, resource: Resource, name: str, namespace: str | None = None) -> None:
        """Takes an object away at once, finalizers or not; no request."""
        key = _key(resource, name, namespace)
        self._store.write(resource, key, copy.deepcopy(self._found(resource, key)), gone=True)

    def fail_next(
        self,
        error: errors.KubeError,
        *,
        verb: str | None = None,
        resource: Resource | None = None,
        moment: Moment = Moment.BEFORE,
        times: int = 1,
    ) -> None:
        """Makes the next requests of that kind fail; with ``Moment.AFTER`` they do happen."""
        self._failures.append(Failure(error=error, verb=verb, resource=resource, moment=moment, times=times))

    def compact(self) -> None:
        """Forgets the history: watches from versions before now are gone."""
        self._store.compact()

    def bookmark(self) -> None:
        """Sends every watch a bookmark."""
        self._store.bookmark()

    def end_watches(self, error: errors.KubeError | None = None) -> None:
        """Ends every watch, in good order or with an error."""
        self._store.end_watches(error)

    def hold_watches(self) -> None:
        """Watches hear nothing until :meth:`release_watches`, as when they lag behind the writes."""
        self._store.hold()

    def release_watches(self) -> None:
        """Watches hear what was held back, in order."""
        self._store.release()

    @property
    def watching(self) -> int:
        """How many watches are open."""
        return self._store.watching

    def collect_garbage(self) -> int:
        """Deletes what belongs to owners that are all gone, and returns how many objects that were."""
        uids = {objects.uid(raw) for _, _, raw in self._store.all()}
        orphans = [(resource, key, raw) for resource, key, raw in self._store.all() if _orphaned(raw, uids)]
        for resource, key, raw in orphans:
            self._delete(resource, key, copy.deepcopy(raw), grace_seconds=None)
        return len(orphans)

    # Requests.

    async def get(
        self,
        resource: Resource,
        name: str,
        namespace: str | None = None,
        *,
        subresource: str | None = None,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> Object:
        """One object, or its scale."""
        async with self._serving("get", resource, namespace, name, subresource):
            raw = copy.deepcopy(self._found(resource, _key(resource, name, namespace)))
            return mutations.scale(raw) if subresource == "scale" else raw

    async def list(
        self,
        resource: Resource,
        namespace: str | None = None,
        labels: str | None = None,
        fields: str | None = None,
        resource_version: str | None = None,
        *,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> ListResult:
        """Every selected object, always at the newest version."""
        async with self._serving("list", resource, namespace):
            selection = Selection(resource=resource, namespace=namespace, labels=labels, fields=fields)
            return ListResult(self._store.select(selection), str(self._store.version))

    async def pages(
        self,
        resource: Resource,
        namespace: str | None = None,
        labels: str | None = None,
        fields: str | None = None,
        resource_version: str | None = None,
        *,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> AsyncGenerator[ListResult, None]:
        """The same, as pages of ``page_size``; a compaction between two of them ends the list as Gone."""
        found, version = await self.list(resource, namespace, labels, fields)
        for start in range(0, max(len(found), 1), self.page_size):
            if start and int(version) < self._store.compacted:
                raise errors.Gone(410, "Expired", "the provided continue parameter is too old")
            yield ListResult(found[start : start + self.page_size], version)

    async def create(
        self,
        resource: Resource,
        body: Object,
        namespace: str | None = None,
        *,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> Object:
        """The object as created."""
        async with self._serving("create", resource, namespace, body.get("metadata", {}).get("name")):
            return self._create(resource, body, namespace)

    def _create(self, resource: Resource, body: Object, namespace: str | None) -> Object:
        raw = self._born_from(resource, body, namespace)
        name = raw["metadata"]["name"]
        if self._store.find(resource, objects.key(raw)) is not None:
            raise errors.AlreadyExists(409, "AlreadyExists", f'{resource} "{name}" already exists')
        return copy.deepcopy(self._store.write(resource, objects.key(raw), raw))

    async def create_subresource(
        self,
        resource: Resource,
        name: str,
        subresource: str,
        body: Object,
        namespace: str | None = None,
        *,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> Object:
        """The answer to an eviction, always granted, and carried out unless it is a dry run."""
        async with self._serving("create", resource, namespace, name, subresource):
            if (resource, subresource) != (PODS, "eviction"):
                raise errors.NotFound(
                    404, "NotFound", f"the in-memory cluster has no {resource}/{subresource}"
                )
            key = _key(resource, name, namespace)
            found = copy.deepcopy(self._found(resource, key))
            if not body.get("deleteOptions", {}).get("dryRun"):
                self._delete(resource, key, found, grace_seconds=None)
            return {"apiVersion": "v1", "kind": "Status", "status": "Success"}

    async def patch_json(
        self,
        resource: Resource,
        name: str,
        ops: Ops,
        namespace: str | None = None,
        subresource: str | None = None,
        *,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> Object:
        """The object after a JSON patch."""
        async with self._serving("patch_json", resource, namespace, name, subresource):
            return self._update(
                resource, name, namespace, subresource, lambda raw: mutations.patched(raw, ops)
            )

    async def patch_merge(
        self,
        resource: Resource,
        name: str,
        patch: Mapping[str, Any],
        namespace: str | None = None,
        subresource: str | None = None,
        *,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> Object:
        """The object after a merge patch."""
        async with self._serving("patch_merge", resource, namespace, name, subresource):
            return self._update(
                resource, name, namespace, subresource, lambda raw: mutations.merged(raw, patch)
            )

    async def apply(
        self,
        resource: Resource,
        name: str,
        body: Mapping[str, Any],
        field_manager: str,
        namespace: str | None = None,
        subresource: str | None = None,
        *,
        force: bool = True,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> Object:
        """The object after a server-side apply, with the simplifications of ``ownership``."""
        async with self._serving("apply", resource, namespace, name, subresource):
            key = _key(resource, name, namespace)
            if subresource is None and self._store.find(resource, key) is None:
                self._create(resource, {"metadata": {"name": name}}, namespace)
            owners = self._owners.setdefault((resource, objects.uid(self._found(resource, key))), {})

            def change(raw: Object) -> Object:
                return ownership.apply(raw, body, field_manager, owners, force=force)

            return self._update(resource, name, namespace, subresource, change)

    async def delete(
        self,
        resource: Resource,
        name: str,
        namespace: str | None = None,
        *,
        grace_seconds: int | None = None,
        uid: str | None = None,
        resource_version: str | None = None,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> None:
        """Returns when deletion has begun; finalizers and running pods hold it up."""
        async with self._serving("delete", resource, namespace, name):
            key = _key(resource, name, namespace)
            raw = copy.deepcopy(self._found(resource, key))
            expected = {"uid": uid, "resourceVersion": resource_version}
            for member, value in expected.items():
                if value is not None and raw["metadata"][member] != value:
                    raise rules.conflict(resource, name, f"Precondition failed: {member}")
            self._delete(resource, key, raw, grace_seconds=grace_seconds)

    async def bind(
        self,
        namespace: str,
        pod_name: str,
        pod_uid: str,
        node: str,
        annotations: Mapping[str, str],
        *,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> None:
        """Binds this very pod to a node and puts annotations on it in the same write."""
        async with self._serving("bind", PODS, namespace, pod_name, "binding"):
            key = _key(PODS, pod_name, namespace)
            raw = copy.deepcopy(self._found(PODS, key))
            if refusal := mutations.unbindable(raw, pod_uid):
                raise rules.conflict(PODS, pod_name, refusal)
            self._store.write(PODS, key, mutations.bound(raw, node, annotations))

    async def watch(
        self,
        resource: Resource,
        resource_version: str,
        namespace: str | None = None,
        labels: str | None = None,
        fields: str | None = None,
        *,
        timeout: float = WATCH_SECONDS,
    ) -> AsyncGenerator[WatchEvent, None]:
        """The changes after a version; no time passes here, ``end_watches`` ends them."""
        async with self._serving("watch", resource, namespace):
            selection = Selection(resource=resource, namespace=namespace, labels=labels, fields=fields)
        async with aclosing(self._store.watch(selection, objects.revision(resource_version))) as events:
            async for event in events:
                yield event

    # How they take effect.

    @asynccontextmanager
    async def _serving(
        self,
        verb: str,
        resource: Resource,
        namespace: str | None,
        name: str | None = None,
        subresource: str | None = None,
    ) -> AsyncIterator[None]:
        request = Request(
            verb=verb, resource=resource, namespace=namespace, name=name, subresource=subresource
        )
        self.requests.append(request)
        await asyncio.sleep(0)  # a request lets others run, as it does on the wire
        await self._stop_at(request, Moment.BEFORE)
        yield
        await self._stop_at(request, Moment.AFTER)

    async def _stop_at(self, request: Request, moment: Moment) -> None:
        if self.on_request is not None and (stopped := self.on_request(request, moment)) is not None:
            await stopped
        for failure in self._failures:
            if failure.strikes(request, moment):
                raise failure.error

    def _born_from(self, resource: Resource, body: Object, namespace: str | None) -> Object:
        self._born += 1
        return rules.born(resource, body, namespace, number=self._born, now=self._now())

    def _found(self, resource: Resource, key: Key) -> Object:
        raw = self._store.find(resource, key)
        if raw is None:
            raise rules.not_found(resource, key[1])
        return raw

    def _update(
        self,
        resource: Resource,
        name: str,
        namespace: str | None,
        subresource: str | None,
        change: Callable[[Object], Object],
    ) -> Object:
        key = _key(resource, name, namespace)
        old = self._found(resource, key)
        if subresource == "scale":
            scaled = change(mutations.scale(copy.deepcopy(old)))["spec"]["replicas"]
            new = rules.changed(
                resource, old, mutations.merged(copy.deepcopy(old), {"spec": {"replicas": scaled}}), None
            )
            return mutations.scale(self._stored(resource, key, old, new))
        new = rules.changed(resource, old, change(copy.deepcopy(old)), subresource)
        return self._stored(resource, key, old, new)

    def _stored(self, resource: Resource, key: Key, old: Object, new: Object) -> Object:
        """A write that changes nothing makes no new version; the last finalizer's removal ends the object."""
        if new == old:
            return copy.deepcopy(old)
        ended = "deletionTimestamp" in new["metadata"] and not rules.lingers(resource, new, None)
        return copy.deepcopy(self._store.write(resource, key, new, gone=ended))

    def _delete(self, resource: Resource, key: Key, raw: Object, *, grace_seconds: int | None) -> None:
        if not rules.lingers(resource, raw, grace_seconds):
            self._store.write(resource, key, raw, gone=True)
        elif "deletionTimestamp" not in raw["metadata"]:
            raw["metadata"]["deletionTimestamp"] = rules.timestamp(self._now())
            self._store.write(resource, key, raw)


def _key(resource: Resource, name: str, namespace: str | None) -> Key:
    resource.path(namespace, name)  # the same complaint as over HTTP where a namespace is missing or too many
    return namespace, name


def _orphaned(raw: Object, uids: set[str]) -> bool:
    owners = raw["metadata"].get("ownerReferences") or []
    return bool(owners) and all(owner["uid"] not in uids for owner in owners)
