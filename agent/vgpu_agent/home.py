"""Where the agent keeps what containers see: a directory per slice, the library's versions, the volumes.

    lib/libvgpu-DIGEST.so        every version installed since the machine started; never overwritten
    slices/SLICE/limits          the limits page, which only the agent writes
                 required        says that a page belongs there
                 usage/accounts  the slice's accounts, which its processes write; bounded in size
                 libvgpu-*.so    the versions that containers of the slice were started with
                 ld.so.preload   names the newest of them
                 python/         the module for applications that give memory back
    volumes/VOLUME.json          what is published where, so that a restart knows

What stands in the pages is decided elsewhere. Nothing of a running pod is replaced here: a container that
starts later gets the newer library, in the same directory, through an ``ld.so.preload`` of its own.
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from vgpu_agent import python
from vgpu_agent.mounts import Mounts

INSIDE = Path("/run/vgpu")
"""Where a container finds its slice's directory."""

HOME_BYTES, HOME_INODES = 256 * 2**20, 65536
USAGE_BYTES, USAGE_INODES = 32 * 2**20, 32
"""The usage page is 25 MiB, most of it never touched; the rest is room for what the shim writes beside it."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """A slice's directory shown to one pod."""

    id: str
    slice_id: str
    pod_uid: str
    target: str


class Home:
    """The files of one node's agent below ``root``; survives the agent, not the machine."""

    def __init__(self, root: Path, mounts: Mounts, library: Path) -> None:
        self.root = root
        self.mounts = mounts
        self._library = library
        self._volumes: dict[str, Volume] = {}

    def prepare(self) -> None:
        """Makes the home, installs this agent's library, reads what an earlier one left."""
        self.mounts.bound(self.root, size_bytes=HOME_BYTES, inodes=HOME_INODES)
        for name in ("lib", "slices", "volumes"):
            (self.root / name).mkdir(exist_ok=True)
        self._installed = self._install()
        self._module = python.install(self.root / "lib")
        for volume in list(self._recorded()):
            self._volumes[volume.id] = volume
            if not self.mounts.exposed(Path(volume.target)):
                self.forget(volume.id)  # its pod is gone, or the kubelet will publish it again

    # ---- slices

    def slice_directory(self, slice_id: str) -> Path:
        """A slice's directory, which need not exist. ValueError for what cannot be a name."""
        return self.root / "slices" / checked(slice_id)

    def slices(self) -> list[str]:
        """The slices that have a directory."""
        return sorted(each.name for each in (self.root / "slices").iterdir())

    def make_slice(self, slice_id: str) -> Path:
        """The directory of a slice, ready for its pages; OSError where the home is full."""
        directory = self.slice_directory(slice_id)
        directory.mkdir(exist_ok=True)
        self.mounts.bound(directory / "usage", size_bytes=USAGE_BYTES, inodes=USAGE_INODES)
        (directory / "required").touch()
        if not (directory / "ld.so.preload").exists():
            self.offer_library(slice_id)
        return directory

    def offer_library(self, slice_id: str) -> None:
        """Lets containers that start from now on load this agent's library."""
        directory = self.slice_directory(slice_id)
        python.offer(self._module, directory)
        mine, preload = directory / self._installed.name, directory / "ld.so.preload"
        if not mine.exists():
            os.link(self._installed, mine)
        line = f"{INSIDE / mine.name}\n"
        if not preload.exists() or preload.read_text() != line:
            _write(preload, line)

    def remove_slice(self, slice_id: str) -> None:
        """Deletes a slice's directory."""
        self.mounts.remove(self.slice_directory(slice_id))

    # ---- volumes

    def volume(self, volume_id: str) -> Volume | None:
        """A volume that is published, or was being published."""
        return self._volumes.get(volume_id)

    def volumes_of(self, slice_id: str) -> list[Volume]:
        """The volumes that show a slice."""
        return [each for each in self._volumes.values() if each.slice_id == slice_id]

    def remember(self, volume: Volume) -> None:
        """Records a volume, before it is shown."""
        _write(self._record(volume.id), json.dumps(asdict(volume)))
        self._volumes[volume.id] = volume

    def forget(self, volume_id: str) -> None:
        """Forgets a volume, after it was withdrawn."""
        self._record(volume_id).unlink(missing_ok=True)
        self._volumes.pop(volume_id, None)

    def _record(self, volume_id: str) -> Path:
        return self.root / "volumes" / f"{checked(volume_id)}.json"

    def _recorded(self) -> Iterator[Volume]:
        for file in (self.root / "volumes").glob("*.json"):
            try:
                yield Volume(**json.loads(file.read_text()))
            except (ValueError, TypeError):  # half written when the machine went down
                file.unlink()

    def _install(self) -> Path:
        """The library of this agent, under a name made of its contents."""
        digest = hashlib.sha256(self._library.read_bytes()).hexdigest()[:12]
        installed = self.root / "lib" / f"libvgpu-{digest}.so"
        if not installed.exists():
            fresh = installed.with_suffix(".fresh")
            shutil.copyfile(self._library, fresh)
            fresh.chmod(0o755)
            fresh.rename(installed)
        return installed


def checked(name: str) -> str:
    """The name of a slice or volume, fit to be a file's. ValueError for any other."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"expected a name of letters, digits, '.', '_' and '-', found {name[:140]!r}")
    return name


def _write(path: Path, text: str) -> None:
    """A new file in place of the old one: who has the old one open, or mounted by itself, keeps it."""
    fresh = path.with_name(f".{path.name}.fresh")
    with contextlib.suppress(FileNotFoundError):
        fresh.unlink()
    fresh.write_text(text)
    fresh.chmod(0o644)
    fresh.rename(path)
