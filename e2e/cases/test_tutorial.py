"""Every command of the tutorial works, in the order in which a newcomer types them."""

import asyncio
import os
import re
from collections.abc import AsyncIterator, Mapping

import pytest
import pytest_asyncio

from vgpu_e2e import prometheus
from vgpu_e2e.localnode.cluster import cluster
from vgpu_e2e.platform import REPOSITORY

pytestmark = pytest.mark.asyncio(loop_scope="module")

PAGE = (REPOSITORY / "docs" / "tutorial" / "README.md").read_text()
CHAPTER = re.compile(r"^## (?P<title>.+)$", re.MULTILINE)
COMMANDS = re.compile(r"^```bash\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
SOURCED = ". build/cluster/env"  # what it sets is the environment here
LIMIT_SECONDS = 180


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shell() -> AsyncIterator[Mapping[str, str]]:
    async with cluster(gpus=2) as environment:
        yield {**os.environ, **environment}


def chapters() -> dict[str, list[str]]:
    """The commands by chapter."""
    first, *rest = CHAPTER.split(PAGE)
    parts = {"before": first, **dict(zip(rest[::2], rest[1::2], strict=True))}
    return {title: COMMANDS.findall(text) for title, text in parts.items()}


async def run(commands: str, shell: Mapping[str, str]) -> str:
    """Return what they print; the first that fails fails the test, with all that was said."""
    process = await asyncio.create_subprocess_exec(
        "bash", "-euo", "pipefail", "-c", commands.replace(SOURCED, ""),
        cwd=REPOSITORY, env=shell, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await asyncio.wait_for(process.communicate(), LIMIT_SECONDS)
    assert process.returncode == 0, f"{commands}\n{output.decode()}"
    return output.decode()


async def test_every_command_of_the_tutorial_works(shell: Mapping[str, str]) -> None:
    said: dict[str, str] = {}

    for title, commands in chapters().items():
        if title == "Dual-elastic" and prometheus.missing():
            continue
        said[title] = "".join([await run(each, shell) for each in commands])

    assert "local-0" in said["before"]
    assert '"result": 2' in said["A claim and a label"]
    assert re.search(r"1/1 +Running +0 ", said["A resize, without a restart"])
    assert "deleted" in said["The end"]
    if prometheus.missing() is None:
        assert "Growing" in said["Dual-elastic"]
        assert "replicas 1 to 2" in said["Dual-elastic"]
