"""The kinds of objects the project talks about, and their addresses in the API.

Only addresses; what an object says is read in ``vgpu_kube.objects``.
"""

from dataclasses import dataclass
from urllib.parse import quote

from vgpu.api import names


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind of object as the API server serves it; the core group is the empty text."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool

    @property
    def api_version(self) -> str:
        """The ``apiVersion`` of its objects, such as ``v1`` or ``apps/v1``."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(
        self, namespace: str | None = None, name: str | None = None, subresource: str | None = None
    ) -> str:
        """The URL path of one object, of its subresource, or of the collection where no name is given.

        Without a namespace the collection of a namespaced kind spans all namespaces.
        """
        if namespace is not None and not self.namespaced:
            raise ValueError(
                f"expected no namespace for cluster-scoped {self.plural}, found {namespace!r}: leave it out"
            )
        if name is not None and self.namespaced and namespace is None:
            raise ValueError(f"expected a namespace for {self.plural} {name!r}, found none: pass namespace=")
        parts = [f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"]
        if namespace is not None:
            parts += ["namespaces", quote(namespace, safe="")]
        parts += [self.plural, *(quote(part, safe="") for part in (name, subresource) if part is not None)]
        return "/".join(parts)

    def __str__(self) -> str:
        return f"{self.plural}.{self.group}" if self.group else self.plural


PODS = Resource("", "v1", "pods", "Pod", namespaced=True)
NODES = Resource("", "v1", "nodes", "Node", namespaced=False)
NAMESPACES = Resource("", "v1", "namespaces", "Namespace", namespaced=False)
CONFIGMAPS = Resource("", "v1", "configmaps", "ConfigMap", namespaced=True)
EVENTS = Resource("events.k8s.io", "v1", "events", "Event", namespaced=True)
LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease", namespaced=True)
DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment", namespaced=True)
REPLICASETS = Resource("apps", "v1", "replicasets", "ReplicaSet", namespaced=True)
STATEFULSETS = Resource("apps", "v1", "statefulsets", "StatefulSet", namespaced=True)
HORIZONTAL_POD_AUTOSCALERS = Resource(
    "autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler", namespaced=True
)
CSI_DRIVERS = Resource("storage.k8s.io", "v1", "csidrivers", "CSIDriver", namespaced=False)
CUSTOM_RESOURCE_DEFINITIONS = Resource(
    "apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", namespaced=False
)
VGPU_POOLS = Resource(names.GROUP, names.VERSION, names.POOL_PLURAL, names.POOL_KIND, namespaced=False)
VGPU_CLAIMS = Resource(names.GROUP, names.VERSION, names.CLAIM_PLURAL, names.CLAIM_KIND, namespaced=True)
VGPU_NODES = Resource(names.GROUP, names.VERSION, names.NODE_PLURAL, names.NODE_KIND, namespaced=False)
