"""csi-sanity, the conformance suite of the CSI community, built once from its Go module."""

import asyncio
import os
import subprocess
from pathlib import Path

from vgpu_e2e import build, cache, errors, golang

VERSION = "v5.6.0"
MODULE = f"github.com/kubernetes-csi/csi-test/v5/cmd/csi-sanity@{VERSION}"
SERVICES = "Identity Service|Node Service"
WITHOUT_CONTROLLER = "should remove target path"  # creates its volume through a controller, which we have not


def ensure() -> Path:
    """Return the program, built now if it is not there yet; several at once build the same file."""
    directory = cache.directory() / f"csi-sanity-{VERSION}"
    program = directory / "csi-sanity"
    if program.exists():
        return program
    directory.mkdir(parents=True, exist_ok=True)
    toolchain = golang.find(module=build.MODULE / "go.mod", cache=cache.directory())
    environment = {**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOBIN": str(directory)}
    command = [str(toolchain.command), "install", MODULE]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=900)
    if done.returncode:
        raise errors.BedError(f"expected csi-sanity to build: {done.stderr.strip()[-2000:]}")
    return program


async def run(socket: Path, scratch: Path) -> str:
    """Return what the suite says of a plugin's Identity and Node services; raise it where it fails."""
    await asyncio.to_thread(scratch.mkdir, parents=True)
    program = await asyncio.to_thread(ensure)
    command = [
        str(program),
        f"--csi.endpoint=unix://{socket}",
        f"--csi.mountdir={scratch / 'mount'}",
        f"--csi.stagingdir={scratch / 'staging'}",
        f"--ginkgo.focus={SERVICES}",
        f"--ginkgo.skip={WITHOUT_CONTROLLER}",
        "--ginkgo.no-color",
    ]
    child = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await child.communicate()
    if child.returncode:
        raise errors.BedError(f"expected csi-sanity to pass:\n{output.decode()[-4000:]}")
    return output.decode()
