"""How a slice's directory gets where a container can see it: by the kernel's mounts, or by symbolic links.

``KernelMounts`` is what a node uses and needs root; ``LinkMounts`` is for nodes whose pods are plain
processes of this machine. Which directory goes where is decided elsewhere.
"""

import ctypes
import os
import shutil
from pathlib import Path
from typing import Protocol

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_REMOUNT, MS_BIND, MS_REC = 32, 4096, 16384
MNT_DETACH = 2
"""linux/mount.h, sys/mount.h"""


class MountError(OSError):
    """The kernel refused; the message says what was tried."""


class Mounts(Protocol):
    """Every operation leaves what is there already as it is."""

    def bound(self, directory: Path, *, size_bytes: int, inodes: int) -> None:
        """Sees to it that a directory cannot grow beyond a size, where that is possible."""
        ...

    def expose(self, source: Path, target: Path) -> None:
        """Shows a directory, read-only but for what is mounted in it, at the target, which is created."""
        ...

    def exposed(self, target: Path) -> bool:
        """Whether something is shown at the target."""
        ...

    def withdraw(self, target: Path) -> None:
        """Takes the target away, whatever is shown there."""
        ...

    def remove(self, directory: Path) -> None:
        """Deletes a directory and what was bound in it."""
        ...


class KernelMounts:
    """tmpfs and read-only bind mounts; needs CAP_SYS_ADMIN."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)

    def bound(self, directory: Path, *, size_bytes: int, inodes: int) -> None:
        """Mounts a tmpfs of that size over the directory, unless there is one."""
        directory.mkdir(parents=True, exist_ok=True)
        if _is_mount(directory):
            return
        options = f"size={size_bytes},nr_inodes={inodes},mode=0755"
        self._mount("vgpu", directory, "tmpfs", MS_NOSUID | MS_NODEV, options)

    def expose(self, source: Path, target: Path) -> None:
        """Binds with everything below, then takes away writing from the top mount alone.

        The second step also grants execution: the library is loaded from there, and /run is often noexec.
        """
        target.mkdir(parents=True, exist_ok=True)
        if self.exposed(target):
            return
        self._mount(str(source), target, None, MS_BIND | MS_REC, None)
        try:
            self._mount(None, target, None, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV, None)
        except MountError:
            self.withdraw(target)
            raise

    def exposed(self, target: Path) -> bool:
        """Whether the target is a mount point."""
        return _is_mount(target)

    def withdraw(self, target: Path) -> None:
        """Unmounts, also where files are open, and removes the empty directory."""
        while _is_mount(target):
            if self._libc.umount2(os.fsencode(target), MNT_DETACH) != 0:
                raise self._refusal(f"unmount {target}")
        if target.is_dir() and not target.is_symlink():
            target.rmdir()

    def remove(self, directory: Path) -> None:
        """Unmounts what was bound below and deletes."""
        for mount in sorted(_mounts_below(directory), key=lambda each: -len(each)):
            if self._libc.umount2(os.fsencode(mount), MNT_DETACH) != 0:
                raise self._refusal(f"unmount {mount}")
        shutil.rmtree(directory, ignore_errors=True)

    def _mount(
        self, source: str | None, target: Path, kind: str | None, flags: int, options: str | None
    ) -> None:
        def encoded(text: str | None) -> bytes | None:
            return None if text is None else os.fsencode(text)

        result = self._libc.mount(
            encoded(source), os.fsencode(target), encoded(kind), ctypes.c_ulong(flags), encoded(options)
        )
        if result != 0:
            raise self._refusal(f"mount {source or kind or 'read-only'} at {target}")

    def _refusal(self, what: str) -> MountError:
        number = ctypes.get_errno()
        return MountError(number, f"{what}: {os.strerror(number)}; the agent needs CAP_SYS_ADMIN")


class LinkMounts:
    """Symbolic links: no privilege, and no protection from a process that ignores them."""

    def bound(self, directory: Path, *, size_bytes: int, inodes: int) -> None:
        """Creates the directory; nothing bounds it."""
        directory.mkdir(parents=True, exist_ok=True)

    def expose(self, source: Path, target: Path) -> None:
        """Links the target to the source; an empty directory in its place gives way."""
        if target.is_symlink():
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_dir():
            target.rmdir()
        target.symlink_to(source)

    def exposed(self, target: Path) -> bool:
        """Whether the target is a link."""
        return target.is_symlink()

    def withdraw(self, target: Path) -> None:
        """Removes the link."""
        if target.is_symlink():
            target.unlink()
        elif target.is_dir():
            target.rmdir()

    def remove(self, directory: Path) -> None:
        """Deletes the directory."""
        shutil.rmtree(directory, ignore_errors=True)


def _is_mount(path: Path) -> bool:
    return str(path) in _mount_points()


def _mounts_below(directory: Path) -> list[str]:
    return [each for each in _mount_points() if each.startswith(f"{directory}/")]


def _mount_points() -> list[str]:
    """The fifth field of every line, its octal escapes resolved (proc(5))."""
    with Path("/proc/self/mountinfo").open("rb") as lines:
        return [
            line.split(b" ", 5)[4].decode("unicode_escape").encode("latin-1").decode(errors="surrogateescape")
            for line in lines
        ]
