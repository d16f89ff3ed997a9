"""kubectl vgpu as a user runs it: a process of its own, against the bed's API server."""

import asyncio
import dataclasses
import sys
from pathlib import Path

from vgpu_e2e import platform


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """How the command ended."""

    code: int
    output: str
    complaint: str


async def run(bed: platform.Bed, *arguments: str, identity: Path | None = None) -> Answer:
    """Run kubectl vgpu as a user would."""
    command = [sys.executable, "-m", "vgpu_cli", "--kubeconfig", str(identity or bed.plane.admin), *arguments]
    child = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, complaint = await child.communicate()
    assert child.returncode is not None
    assert b"Traceback" not in complaint, complaint.decode()
    return Answer(child.returncode, output.decode(), complaint.decode())
