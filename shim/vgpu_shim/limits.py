"""The limits page: what a slice may use, written in place while its processes run."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from vgpu_shim import library

UNLIMITED = 2**64 - 1
"""A memory limit that leaves the driver's own answers alone."""

FROZEN = 1
OVERSUBSCRIBE = 2
MIG = 4
RAW_UTILIZATION = 8

_MEMORY = ("memory_limit", "memory_target", "memory_ceiling", "spill_limit", "context_bytes")
_PERCENT = ("compute_percent", "lent_percent", "ceiling_percent")
_RANGES = {
    **dict.fromkeys(_MEMORY, (0, UNLIMITED)),
    **dict.fromkeys(_PERCENT, (0, 100)),
    **dict.fromkeys(("weight", "burst_ms", "memory_wait_ms", "busy_permille", "flags"), (0, 2**32 - 1)),
    "revision": (0, 2**64 - 1),
    "priority": (-(2**31), 2**31 - 1),
}
_WORDS = {
    **dict.fromkeys(_MEMORY, "bytes, {} to {}"),
    **dict.fromkeys(_PERCENT, "{} to {} per cent of one device"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceLimits:
    """One device's line. Memory in bytes, compute in whole per cent of the device.

    In force is compute_percent + lent_percent, at most ceiling_percent (0: no ceiling).
    burst_ms 0 means 25 ms; busy_permille 0 means 1000: all measured time is the slice's.
    """

    uuid: str
    memory_limit: int
    compute_percent: int
    lent_percent: int = 0
    ceiling_percent: int = 0
    memory_target: int = 0
    memory_ceiling: int = 0
    memory_wait_ms: int = 0
    spill_limit: int = 0
    context_bytes: int = 0
    weight: int = 0
    priority: int = 0
    burst_ms: int = 0
    busy_permille: int = 0
    revision: int = 0
    flags: int = 0

    def __post_init__(self) -> None:
        for name, (least, most) in _RANGES.items():
            if not least <= getattr(self, name) <= most:
                expected = _WORDS.get(name, "{} to {}").format(least, most)
                raise ValueError(f"{name} is {getattr(self, name)}: expected {expected}")
        if self.compute_percent == 0:
            raise ValueError("compute_percent is 0: the least is 1; to stop a slice, set the flag FROZEN")
        parse_uuid(self.uuid)


def parse_uuid(text: str) -> bytes:
    """16 bytes of a UUID like GPU-8d2e… or MIG-…; ValueError for anything else."""
    prefix, _, rest = text.partition("-")
    if prefix not in ("GPU", "MIG"):
        raise ValueError(f"device UUID is {text!r}: expected GPU-… or MIG-… as nvidia-smi -L prints it")
    try:
        return uuid.UUID(rest).bytes
    except ValueError:
        raise ValueError(f"device UUID is {text!r}: {rest!r} is not a UUID") from None


class LimitsPage:
    """An open limits page; a context manager. One process, the node's agent, may write it."""

    def __init__(self, path: Path, *, writable: bool = False) -> None:
        self._opened = library.load()
        pointer = self._opened.ffi.new("struct vgpu_limits **")
        code = self._opened.lib.vgpu_limits_open(str(path).encode(), int(writable), pointer)
        library.check(code, f"open limits page {path}")
        self._page: Any = pointer[0]
        self.path = path

    @classmethod
    def create(cls, path: Path, devices: list[DeviceLimits], *, slice_id: str) -> Self:
        """Makes the page with these limits, or opens a sound one and leaves it as it is."""
        opened = library.load()
        library.check_device_count(len(devices))
        if path.exists():
            try:
                return cls(path, writable=True)
            except library.PageError:
                path.unlink()  # broken: nobody could have opened it
        fresh = path.with_name(path.name + ".fresh")
        fresh.unlink(missing_ok=True)
        code = opened.lib.vgpu_limits_create(str(fresh).encode(), slice_id.encode(), len(devices))
        library.check(code, f"create limits page {path}")
        with cls(fresh, writable=True) as page:
            for index, limits in enumerate(devices):
                page.write(index, limits)
        fresh.rename(path)  # nobody sees a page without its limits
        return cls(path, writable=True)

    @property
    def generation(self) -> int:
        """Counts every change."""
        return int(self._page.generation)

    @property
    def slice_id(self) -> str:
        """The slice's name, for people."""
        return str(self._opened.ffi.string(self._opened.ffi.cast("char *", self._page.slice_id), 64).decode())

    @property
    def device_count(self) -> int:
        """How many lines are in use."""
        return int(self._page.device_count)

    def read(self, index: int) -> DeviceLimits:
        """One device's limits, whole. IndexError beyond device_count."""
        self._check_index(index)
        line = self._opened.ffi.new("struct vgpu_limits_device *")
        library.check(self._opened.lib.vgpu_limits_read(self._page, index, line), f"read device {index}")
        prefix = "MIG" if line.flags & MIG else "GPU"
        name = f"{prefix}-{uuid.UUID(bytes=bytes(line.uuid))}"
        return DeviceLimits(uuid=name, **{field: int(getattr(line, field)) for field in _RANGES})

    def read_all(self) -> list[DeviceLimits]:
        """All devices in the page's order."""
        return [self.read(index) for index in range(self.device_count)]

    def write(self, index: int, limits: DeviceLimits) -> None:
        """Puts limits in force: at the next call of every process, and sleepers wake at once."""
        self._check_index(index)
        line = self._opened.ffi.new("struct vgpu_limits_device *")
        for field in _RANGES:
            setattr(line, field, getattr(limits, field))
        self._opened.ffi.memmove(line.uuid, parse_uuid(limits.uuid), 16)
        if limits.uuid.startswith("MIG-"):
            line.flags |= MIG
        library.check(self._opened.lib.vgpu_limits_write(self._page, index, line), f"write device {index}")

    def update(self, index: int, **changes: int) -> DeviceLimits:
        """Changes some fields of one device; returns the line as written."""
        changed = replace(self.read(index), **changes)  # type: ignore[arg-type]  # uuid is no int, and not changed
        self.write(index, changed)
        return changed

    def wait(self, seen: int, *, timeout_seconds: float) -> bool:
        """True once generation differs from `seen`, False when the time is up first."""
        code = self._opened.lib.vgpu_limits_wait(self._page, seen, int(timeout_seconds * 1e9))
        return bool(code == 0) and self.generation != seen

    def close(self) -> None:
        """Unmaps the page; twice is once."""
        if self._page is not None:
            self._opened.lib.vgpu_limits_close(self._page)
            self._page = None

    def _check_index(self, index: int) -> None:
        if not 0 <= index < self.device_count:
            raise IndexError(f"device {index} of {self.path}: the page has {self.device_count}")

    def __iter__(self) -> Iterator[DeviceLimits]:
        return iter(self.read_all())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
