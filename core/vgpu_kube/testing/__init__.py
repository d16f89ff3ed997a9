"""An in-memory cluster for tests that answers as the API server does where it matters.

Versions, conflicts, patches, subresources, selectors, watches and deletion are the API server's; schemas,
admission, quotas and permissions are not checked, and no controller runs unless a test plays it.
"""

from vgpu_kube.testing.clock import Clock, settle
from vgpu_kube.testing.cluster import Cluster
from vgpu_kube.testing.requests import Failure, Moment, Request

__all__ = ["Clock", "Cluster", "Failure", "Moment", "Request", "settle"]
