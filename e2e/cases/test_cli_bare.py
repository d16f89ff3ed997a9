"""kubectl vgpu where there is nothing of ours, and where there is nothing at all."""

import asyncio
import json
import sys
from pathlib import Path

from vgpu_e2e import controlplane


async def _vgpu(kubeconfig: Path, *arguments: str) -> tuple[int, str, str]:
    command = [sys.executable, "-m", "vgpu_cli", "--kubeconfig", str(kubeconfig), *arguments]
    child = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, complaint = await child.communicate()
    assert child.returncode is not None
    return child.returncode, output.decode(), complaint.decode()


async def test_a_bare_cluster_lacks_everything_and_check_says_so_in_order() -> None:
    async with controlplane.ControlPlane() as plane:
        code, output, _ = await _vgpu(plane.admin, "check", "-o", "json")
        bare_status = await _vgpu(plane.admin, "status")
        kubeconfig = plane.admin.read_text()
        gone = plane.directory.with_suffix(".yaml")
    gone.write_text(kubeconfig)
    try:
        unreachable = await _vgpu(gone, "status")
    finally:
        gone.unlink()

    found = [each for each in json.loads(output) if each["verdict"] == "Fault"]
    steps = list(dict.fromkeys(each["step"] for each in found))
    assert code == 1
    assert steps[:4] == ["definitions", "permissions", "admission", "scheduler"]
    assert all(each["remedy"] for each in found)
    assert bare_status[0] == 1
    assert "kubectl vgpu check" in bare_status[2]
    assert unreachable[0] == 3
    assert "expected an answer from the API server" in unreachable[2]
