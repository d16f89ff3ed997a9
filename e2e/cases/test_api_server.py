"""What only a real API server can judge: the rules of the CRDs, and that our own in-memory one is like it."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable

import pytest
import pytest_asyncio
import yaml

from vgpu_e2e import controlplane, platform, rest
from vgpu_e2e.rest import Object

pytestmark = pytest.mark.asyncio(loop_scope="module")
TESTS = platform.REPOSITORY / "tests"
EXAMPLES: list[Object] = yaml.safe_load((TESTS / "vgpu" / "api" / "examples.yaml").read_text())
CONTRACT = ("test_contract.py", "test_events.py")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def plane() -> AsyncIterator[controlplane.ControlPlane]:
    """A control plane that knows our kinds and runs nothing of ours: schema and CEL decide alone."""
    async with controlplane.ControlPlane(definitions=platform.CRDS) as running:
        yield running


@pytest.mark.parametrize("example", EXAMPLES, ids=[each["name"] for each in EXAMPLES])
async def test_the_api_server_holds_every_example_of_the_schema(
    plane: controlplane.ControlPlane, example: Object
) -> None:
    path = await plane.api.path_of(example["manifest"])
    if "before" in example:
        await plane.api.create(path.rpartition("/")[0], example["before"])
        verdict = await _verdict(plane.api.patch(path, {"spec": example["manifest"].get("spec")}))
    else:
        verdict = await _verdict(plane.api.create(path.rpartition("/")[0], example["manifest"]))
    await plane.api.delete(path)

    assert verdict == "ok" if example["expected"] == "ok" else example["expected"] in verdict


async def test_the_in_memory_cluster_and_the_api_server_keep_one_contract(
    plane: controlplane.ControlPlane,
) -> None:
    files = [str(TESTS / "vgpu_kube" / name) for name in CONTRACT]
    child = await asyncio.create_subprocess_exec(
        *[sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files],
        cwd=platform.REPOSITORY,
        env={**os.environ, "VGPU_CONTRACT_KUBECONFIG": str(plane.admin)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )

    output, _ = await child.communicate()

    assert child.returncode == 0, output.decode()[-4000:]
    assert b" skipped" not in output


async def _verdict(request: Awaitable[Object]) -> str:
    try:
        await request
    except rest.StatusError as error:
        return str(error)
    return "ok"
