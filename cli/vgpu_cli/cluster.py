"""What commands ask of a cluster: objects, as everyone does, and rehearsals of writes."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from vgpu_kube.objects import Object
from vgpu_kube.protocol import Objects
from vgpu_kube.resources import Resource


class Cluster(Objects, Protocol):
    """Reads and patches; every refusal is a :class:`~vgpu_kube.errors.KubeError`."""

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
