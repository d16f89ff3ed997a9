"""A cluster in memory with a pool, a claim and a node, and the view that admission has of it."""

from collections.abc import AsyncIterator

import pytest

from vgpu_kube.resources import VGPU_CLAIMS, VGPU_NODES, VGPU_POOLS
from vgpu_kube.testing import Cluster, settle
from vgpu_webhooks.admission import view

POOL = {
    "metadata": {"name": "a100", "annotations": {"vgpu.dev/is-default-pool": "true"}},
    "spec": {"nodeSelector": {"matchLabels": {"gpu": "a100"}}},
}
CLAIM = {
    "metadata": {"name": "llm", "namespace": "team-a"},
    "spec": {
        "poolName": "a100",
        "resources": {
            "requests": {"memory": "16Gi", "computePercent": 25},
            "limits": {"memory": "40Gi", "computePercent": 100},
        },
    },
}
NODE = {
    "metadata": {"name": "gpu-0", "labels": {"gpu": "a100"}},
    "spec": {"revision": 0},
    "status": {"devices": [{"uuid": "GPU-0", "index": 0, "model": "A100", "memory": "80Gi"}]},
}


@pytest.fixture
def cluster() -> Cluster:
    made = Cluster()
    made.add(VGPU_POOLS, POOL)
    made.add(VGPU_CLAIMS, CLAIM)
    made.add(VGPU_NODES, NODE)
    return made


@pytest.fixture
async def followed(cluster: Cluster) -> AsyncIterator[view.ClusterView]:
    async with view.follow(cluster) as following:
        await settle()
        yield following
