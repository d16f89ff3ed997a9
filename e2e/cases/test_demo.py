"""The demos are told as they happen: each ends with 0 only when all it shows is so."""

import asyncio
import sys

import pytest

from vgpu_e2e import platform


@pytest.mark.parametrize(
    ("story", "sentences"),
    [
        ("vgpu_e2e.demo", ["WaitingForQuota", "no GPU with 70 GiB memory free", "All was as told"]),
        (
            "vgpu_e2e.localnode.demo",
            ["batch is back, and so is its compute", "CUDA_ERROR_OUT_OF_MEMORY", "2 GiB more: success"],
        ),
    ],
)
async def test_a_demo_shows_what_it_says(story: str, sentences: list[str]) -> None:
    child = await asyncio.create_subprocess_exec(
        *[sys.executable, "-m", story],
        cwd=platform.REPOSITORY,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )

    output, _ = await child.communicate()

    told = output.decode()
    assert child.returncode == 0, told
    for sentence in sentences:
        assert sentence in told
