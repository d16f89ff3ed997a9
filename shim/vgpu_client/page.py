"""Reads what a slice should come down to, and what it uses, out of its two pages.

The layout is ``include/vgpu_region.h``'s; a test holds the numbers here to it. Nothing is written.
"""

from __future__ import annotations

import mmap
import os
import struct
import uuid
from dataclasses import dataclass
from pathlib import Path

MOUNT = Path("/run/vgpu")
"""Where a container finds its slice; VGPU_DIR counts only where this does not exist."""

LIMITS_MAGIC, USAGE_MAGIC = 0x5631544D4C555047, 0x56314547534C5550
VERSION = 1

HEADER = struct.Struct("<QIIII")  # magic, version, size, generation, device_count
LINES, LINE_BYTES, DEVICES_MAX = 128, 128, 16
LINE = struct.Struct("<II16sQQ")  # seq, flags, uuid, memory_limit, memory_target
REVISION = 64  # of a line
MIG = 4

ACCOUNTS, ACCOUNT_BYTES = 65 * 4096, 256 + 4096 * 8
WORD = struct.Struct("<Q")
BYTES_MASK = (1 << 44) - 1

TRIES = 100


class NoSliceError(Exception):
    """There is no slice here, or its pages are of a version that this module cannot read."""


@dataclass(frozen=True)
class Change:
    """What one device of the slice should come down to, or may grow to. Memory in bytes."""

    device: int
    uuid: str
    target_bytes: int
    limit_bytes: int
    used_bytes: int
    revision: int

    @property
    def excess_bytes(self) -> int:
        """How much more is used than should be; 0 where all is well."""
        return max(0, self.used_bytes - self.target_bytes)


def directory() -> Path:
    """The slice's directory of this process, by the same rule as the shim's."""
    return MOUNT if MOUNT.exists() else Path(os.environ.get("VGPU_DIR", MOUNT))


class Pages:
    """Both pages of a slice, mapped read-only."""

    def __init__(self, place: Path) -> None:
        """Raises NoSliceError with what was expected and found."""
        self._limits = _mapped(place / "limits", LIMITS_MAGIC, least=LINES + DEVICES_MAX * LINE_BYTES)
        self._usage = _mapped(
            place / "usage" / "accounts", USAGE_MAGIC, least=ACCOUNTS + DEVICES_MAX * ACCOUNT_BYTES
        )

    @property
    def generation(self) -> int:
        """Counts every change of any limit."""
        return int(HEADER.unpack_from(self._limits)[3])

    def changes(self) -> list[Change]:
        """How each device of the slice stands now."""
        count = min(HEADER.unpack_from(self._limits)[4], DEVICES_MAX)
        return [change for index in range(count) if (change := self._change(index)) is not None]

    def _change(self, index: int) -> Change | None:
        """One device, whole; None where a writer died in the middle of the line."""
        offset = LINES + index * LINE_BYTES
        for _ in range(TRIES):
            before, flags, raw, limit, target = LINE.unpack_from(self._limits, offset)
            (revision,) = WORD.unpack_from(self._limits, offset + REVISION)
            if before % 2 == 0 and LINE.unpack_from(self._limits, offset)[0] == before:
                name = f"{'MIG' if flags & MIG else 'GPU'}-{uuid.UUID(bytes=raw)}"
                return Change(
                    device=index,
                    uuid=name,
                    target_bytes=target or limit,
                    limit_bytes=limit,
                    used_bytes=self._used(index),
                    revision=revision,
                )
        return None

    def _used(self, index: int) -> int:
        (word,) = WORD.unpack_from(self._usage, ACCOUNTS + index * ACCOUNT_BYTES)
        return int(word) & BYTES_MASK


def _mapped(path: Path, magic: int, *, least: int) -> mmap.mmap:
    try:
        with path.open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
    except (OSError, ValueError) as error:
        raise NoSliceError(f"expected a slice's page at {path}: {error}") from None
    if len(mapped) < least:
        raise NoSliceError(f"expected at least {least} bytes in {path}, found {len(mapped)}")
    found_magic, version = HEADER.unpack_from(mapped)[:2]
    if (found_magic, version) != (magic, VERSION):
        raise NoSliceError(f"expected version {VERSION} in {path}, found {version} (magic {found_magic:#x})")
    return mapped
