"""What commands ask of a cluster: a part of ``vgpu_kube.protocol.Kube``, and rehearsals of writes."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from vgpu_kube.objects import Object
from vgpu_kube.protocol import DEFAULT_TIMEOUT, ListResult, Ops
from vgpu_kube.resources import Resource

# ruff: noqa: ASYNC109 -- the timeout is an option of the request, the server is told of it


class Cluster(Protocol):
    """Reads and patches; every refusal is a :class:`~vgpu_kube.errors.KubeError`."""

    async def get(
        self,
        resource: Resource,
        name: str,
        namespace: str | None = None,
        *,
        subresource: str | None = None,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> Object:
        """One object."""
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
        """Every selected object."""
        ...

    async def create(
        self,
        resource: Resource,
        body: Object,
        namespace: str | None = None,
        *,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> Object:
        """The answer to a question that is asked by creating an object, such as an access review."""
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
        """The object after a JSON patch; a failed ``test`` raises Conflict."""
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
        """The object after a merge patch."""
        ...

    async def rehearse(self, resource: Resource, body: Object, namespace: str | None = None) -> Object:
        """What a creation would store, webhooks and policies included; nothing is stored."""
        ...

    async def rehearse_patch(
        self, resource: Resource, name: str, patch: Mapping[str, Any], namespace: str | None = None
    ) -> Object:
        """What a merge patch would store; nothing is stored."""
        ...

    async def text(self, path: str) -> str:
        """What stands at a path that is no object, such as ``/version`` or a service behind the proxy."""
        ...


class Session(NamedTuple):
    """A cluster, and the namespace that is meant where none is named."""

    cluster: Cluster
    namespace: str
