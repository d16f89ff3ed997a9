"""The clusters that the contract is tested on.

In memory always; on a real API server as well where ``VGPU_CONTRACT_KUBECONFIG`` names a kubeconfig
with the project's CRDs installed.
"""

import contextlib
import itertools
import os
from collections.abc import AsyncIterator

import pytest

from vgpu_kube import client, errors
from vgpu_kube.protocol import Kube
from vgpu_kube.resources import NAMESPACES
from vgpu_kube.testing import Cluster

REAL = "VGPU_CONTRACT_KUBECONFIG"
_numbers = itertools.count(1)


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture(params=["memory", "server"] if REAL in os.environ else ["memory"])
async def kube(request: pytest.FixtureRequest) -> AsyncIterator[Kube]:
    if request.param == "memory":
        yield Cluster()
        return
    async with client.connect(os.environ[REAL]) as connected:
        yield connected


@pytest.fixture
async def namespace(kube: Kube) -> AsyncIterator[str]:
    """A namespace of the test's own, empty when it begins."""
    name = f"contract-{os.getpid()}-{next(_numbers)}"
    await kube.create(NAMESPACES, {"metadata": {"name": name}})
    yield name
    with contextlib.suppress(errors.NotFound):
        await kube.delete(NAMESPACES, name)
