"""What can be asked of a cluster: the interface of the HTTP client and of the in-memory cluster alike.

Every request ends within ``timeout`` seconds (:class:`~vgpu_kube.errors.Unavailable`); all errors are
:class:`~vgpu_kube.errors.KubeError`. Answers are raw objects that belong to the caller.
"""

# ruff: noqa: ASYNC109 -- the timeout is an option of the request, the server is told of it

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias

from vgpu_kube.objects import Object
from vgpu_kube.resources import Resource

DEFAULT_TIMEOUT = 10.0
"""Seconds one request may take."""

WATCH_SECONDS = 300.0
"""How long one watch lasts before the API server ends it in good order."""

Op: TypeAlias = dict[str, Any]
"""One operation of a JSON patch (RFC 6902)."""

Ops: TypeAlias = Sequence[Op]


class ListResult(NamedTuple):
    """The objects of a collection and the version a watch continues from."""

    items: Sequence[Object]
    resource_version: str


class WatchEvent(NamedTuple):
    """``ADDED``, ``MODIFIED``, ``DELETED`` or ``BOOKMARK``, and the object (a bookmark's is a version)."""

    type: str
    object: Object


class Objects(Protocol):
    """Reading and changing objects: what every door to a cluster offers, that of the commands too."""

    async def get(
        self,
        resource: Resource,
        name: str,
        namespace: str | None = None,
        *,
        subresource: str | None = None,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> Object:
        """One object, or the subresource of it."""
        ...

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
        """Every selected object, of one consistent version; the timeout is that of each page.

        ``labels`` and ``fields`` are selectors in Kubernetes' text form. ``resource_version="0"`` is
        cheaper and may be older than what was already seen.
        """
        ...

    async def create(
        self,
        resource: Resource,
        body: Object,
        namespace: str | None = None,
        *,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> Object:
        """The object as created; without ``namespace`` that of its metadata counts."""
        ...

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
        """The object after a JSON patch; a failed ``test`` raises :class:`~vgpu_kube.errors.Conflict`."""
        ...

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
        """The object after a merge patch (RFC 7386: lists are replaced whole, null removes)."""
        ...


class Kube(Objects, Protocol):
    """The requests of one identity to one cluster."""

    def pages(
        self,
        resource: Resource,
        namespace: str | None = None,
        labels: str | None = None,
        fields: str | None = None,
        resource_version: str | None = None,
        *,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> AsyncGenerator[ListResult, None]:
        """What ``list`` gives, a page at a time and all of one version, for lists too long to be held whole.

        Raises :class:`~vgpu_kube.errors.Gone` where that version went while it was read: begin anew.
        """
        ...

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
        """The answer to a POST below an object, such as an eviction."""
        ...

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
        """The object after a server-side apply of exactly the fields this manager wants to own.

        ``apiVersion``, ``kind`` and ``metadata.name`` are filled in.
        """
        ...

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
        """Returns when deletion has begun; a ``uid`` or version that differs raises Conflict."""
        ...

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
        """Binds this very pod to a node and puts annotations on it in the same write.

        Raises Conflict where the pod is bound already or is another one of that name.
        """
        ...

    def watch(
        self,
        resource: Resource,
        resource_version: str,
        namespace: str | None = None,
        labels: str | None = None,
        fields: str | None = None,
        *,
        timeout: float = WATCH_SECONDS,
    ) -> AsyncGenerator[WatchEvent, None]:
        """The changes after a version, bookmarks among them, until the server ends the watch.

        It may end early at any time: continue from the last version seen. Raises
        :class:`~vgpu_kube.errors.Gone` where that version is no longer kept.
        """
        ...
