"""containerd with runc, in directories of its own beside whatever the machine runs.

Every container gets the simulated GPUs' directory as NVIDIA's runtime would give it devices: by the runtime,
not by the pod.
"""

import asyncio
import contextlib
import fcntl
import json
import shutil
import subprocess
import tempfile
from pathlib import Path

from vgpu_e2e import errors, process
from vgpu_e2e.realnode import images

GPUS = "/gpus"  # where a container finds the state of the simulated GPUs
NAMESPACE = "k8s.io"
TURN = Path(tempfile.gettempdir()) / "vgpu-bed-realnode.lock"  # one at a time: they share bridge and cgroups

CONFIG = """\
version = 2
root = "{directory}/root"
state = "{directory}/state"
disabled_plugins = ["io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs"]
[grpc]
  address = "{directory}/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    base_runtime_spec = "{directory}/spec.json"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{directory}/cni"
"""


def network(directory: Path, bridge: str) -> dict[str, object]:
    """Return a CNI configuration: a bridge, addresses by a file."""
    return {
        "cniVersion": "0.4.0",
        "name": "vgpu-bed",
        "plugins": [
            {
                "type": "bridge",
                "bridge": bridge,
                "isGateway": True,
                "ipMasq": False,
                "ipam": {
                    "type": "host-local",
                    "dataDir": str(directory / "addresses"),
                    "ranges": [[{"subnet": "10.244.7.0/24"}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            }
        ],
    }


class Runtime:
    """containerd and what runs under it."""

    def __init__(self, directory: Path, *, gpus: Path, log: Path, bridge: str = "vgpubed0") -> None:
        self._directory = directory
        self._gpus = gpus
        self._bridge = bridge
        self._turn = TURN.open("w")
        self.socket = directory / "containerd.sock"
        command = [program("containerd"), "--config", str(directory / "config.toml")]
        self.process = process.Process("containerd", command, log=log)

    async def start(self) -> None:
        """Wait for another bed's node to end, write the configuration, start, import the sandbox's image."""
        await asyncio.to_thread(fcntl.flock, self._turn, fcntl.LOCK_EX)
        (self._directory / "cni").mkdir(parents=True, exist_ok=True)
        config = CONFIG.format(directory=self._directory, pause=images.PAUSE)
        (self._directory / "config.toml").write_text(config)
        conflist = self._directory / "cni" / "10-bed.conflist"
        conflist.write_text(json.dumps(network(self._directory, self._bridge)))
        self._write_spec()
        self.process.start()
        await self.process.ready(self._answers, awaited="an answer to ctr version")
        self.load(images.pause(Path(program("busybox"))))

    def load(self, image: bytes) -> None:
        """Import an image."""
        archive = self._directory / "image.tar"
        archive.write_bytes(image)
        self.ctr("images", "import", str(archive))
        archive.unlink()

    def ctr(self, *arguments: str) -> str:
        """Return what ctr prints; raise what it complains."""
        command = [program("ctr"), "--address", str(self.socket), "--namespace", NAMESPACE, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        if done.returncode:
            raise errors.BedError(f"ctr {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    async def stop(self) -> None:
        """Kill what runs, stop containerd, take mounts and network away."""
        if self.process.running:
            networks = await asyncio.to_thread(self._networks)
            await asyncio.to_thread(self._kill_tasks)
            await asyncio.to_thread(_delete_networks, networks)
        await self.process.stop()
        await asyncio.to_thread(self._clear)
        self._turn.close()

    def _networks(self) -> set[str]:
        """The names of the pods' network namespaces; what is bound to a name outlives all processes in it."""
        names: set[str] = set()
        for container in self.ctr("containers", "list", "--quiet").split():
            with contextlib.suppress(errors.BedError):  # it was removed meanwhile
                spec = json.loads(self.ctr("containers", "info", "--spec", container))
                paths = [each.get("path", "") for each in spec["linux"]["namespaces"]]
                names |= {Path(each).name for each in paths if "/netns/" in each}
        return names

    def _kill_tasks(self) -> None:
        for task in self.ctr("tasks", "list", "--quiet").split():
            with contextlib.suppress(errors.BedError):  # it ended by itself
                self.ctr("tasks", "delete", "--force", task)

    def _clear(self) -> None:
        unmount_below(self._directory)
        subprocess.run(["ip", "link", "delete", self._bridge], capture_output=True, check=False)
        shutil.rmtree(self._directory, ignore_errors=True)

    async def _answers(self) -> bool:
        try:
            self.ctr("version")
        except errors.BedError:
            return False
        return True

    def _write_spec(self) -> None:
        """The default specification of a container, and the GPUs' directory."""
        made = subprocess.run([program("ctr"), "oci", "spec"], capture_output=True, text=True, check=True)
        spec = json.loads(made.stdout)
        spec["mounts"].append(
            {"destination": GPUS, "type": "bind", "source": str(self._gpus), "options": ["rbind", "rw"]}
        )
        spec["process"].pop("rlimits", None)  # raising one needs a capability that not every machine gives
        (self._directory / "spec.json").write_text(json.dumps(spec))


def _delete_networks(names: set[str]) -> None:
    """Take network namespaces away, and with them their ends of the bridge."""
    for name in names:
        subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)


def program(name: str) -> str:
    """Return a program's path. Raises BedError with the packages that have it."""
    found = shutil.which(name)
    if found is None:
        raise errors.BedError(
            f"expected {name} on the PATH: install containerd, runc, busybox-static and the CNI plugins"
        )
    return found


def unmount_below(directory: Path) -> None:
    """Take away every mount below a directory, the innermost first."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = [line.split(" ", 5)[4] for line in lines]
    for point in sorted((each for each in points if each.startswith(f"{directory}/")), reverse=True):
        subprocess.run(["umount", "-l", point], capture_output=True, check=False)
