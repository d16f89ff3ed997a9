"""The example manifests are accepted as they stand, and their pods get slices."""

import pytest

from vgpu_e2e import objects, platform, process
from vgpu_e2e.platform import REPOSITORY
from vgpu_e2e.team import Team

pytestmark = pytest.mark.asyncio(loop_scope="module")
BED = {"nodes": 3}
POOLS = [objects.pool()]

EXAMPLES = sorted((REPOSITORY / "docs" / "examples").glob("*.yaml"))
PODS = {"vllm": 1, "triton": 2, "notebook": 1, "finetune": 4}


async def test_every_example_is_accepted_and_bound(bed: platform.Bed) -> None:
    team = Team(bed.api, "examples")
    await team.arrive()

    for each in EXAMPLES:
        await bed.apply(each)

    async def bound() -> bool:
        found = {name: len((await team.status(name)).get("allocations", [])) for name in PODS}
        return found == PODS

    await process.until(bound, timeout_seconds=60, awaited="all pods of all examples to have slices")
    await team.leave()
