"""The demo is told as it happens: it ends with 0 only when all it shows is so."""

import asyncio
import sys

from vgpu_e2e import platform


async def test_the_demo_shows_what_it_says() -> None:
    child = await asyncio.create_subprocess_exec(
        *[sys.executable, "-m", "vgpu_e2e.demo"],
        cwd=platform.REPOSITORY,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )

    output, _ = await child.communicate()

    told = output.decode()
    assert child.returncode == 0, told
    for sentence in ("WaitingForQuota", "no GPU with 70 GiB memory free", "All was as told"):
        assert sentence in told
