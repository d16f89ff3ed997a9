"""Others' suites have nothing to say about the agent; a node full of pods is no trouble to it."""

import asyncio
import re
import shutil
from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio

from vgpu_e2e import audit, objects, process
from vgpu_e2e.localnode import conformance, serving
from vgpu_e2e.localnode.bed import LocalBed
from vgpu_e2e.team import Team

pytestmark = pytest.mark.asyncio(loop_scope="module")
PODS = 100
WAITS = ["-c", "import signal; signal.pause()"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bed() -> AsyncIterator[LocalBed]:
    async with LocalBed(gpus=8, publish_wait_seconds=5) as running:
        await running.apply([objects.pool()])
        yield running


async def test_the_csi_communitys_own_suite_passes(bed: LocalBed) -> None:
    socket = bed.kubelet_root / "plugins" / "vgpu.dev" / "csi.sock"

    said = await conformance.run(socket, bed.plane.directory / "sanity")

    ran = re.search(r"(\d+) Passed .* 0 Failed", said)
    assert ran is not None, said
    assert int(ran.group(1)) >= 10


async def test_a_hundred_pods_start_on_one_node_and_leave_nothing(bed: LocalBed, team: Team) -> None:
    await team.claim("tiny", requests=objects.amounts("256Mi", 2))

    names = await team.run("tiny", PODS, containers=[serving.program(bed, WAITS)])

    await process.until(lambda: _running(team, PODS), timeout_seconds=90, awaited=f"{PODS} running pods")
    picture = await audit.look(bed.api)
    assert audit.violations(picture) == []
    assert {each.state.value for node in picture.nodes for each in node.enforced.values()} == {"Applied"}
    await team.delete(names)
    await process.until(lambda: _empty(bed), timeout_seconds=60, awaited="nothing to be left")


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is in the package prometheus")
async def test_promtool_has_nothing_to_say_about_the_metrics(bed: LocalBed, team: Team) -> None:
    await team.claim("llm", requests=objects.amounts("1Gi", 25))
    await serving.start(bed, team, "llm")
    text = await _metrics(bed)

    checked = await asyncio.create_subprocess_exec(
        "promtool",
        "check",
        "metrics",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await checked.communicate(text.encode())

    assert said.decode() == ""
    assert checked.returncode == 0


async def _metrics(bed: LocalBed) -> str:
    async with aiohttp.ClientSession() as session, session.get(f"{bed.agent.url}/metrics") as response:
        return await response.text()


async def _running(team: Team, count: int) -> bool:
    return sum(1 for each in await team.pods() if each["status"].get("phase") == "Running") == count


async def _empty(bed: LocalBed) -> bool:
    slices = list((bed.agent_root / "slices").iterdir())
    return not slices and not list((bed.agent_root / "volumes").iterdir())
