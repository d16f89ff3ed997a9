"""The usage page: what a slice's processes hold and have used."""

import errno
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from vgpu_shim import library

KINDS = ("linear", "managed", "vmm", "pool", "array", "graph", "context")
"""Memory by kind, in the page's order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """Numbers that only grow. Times in nanoseconds, memory in bytes."""

    launches: int
    gpu_ns: int
    throttled_ns: int
    queued_ns: int
    refused: int
    refused_bytes: int
    waited_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessUsage:
    """One process on one device. Its PID is the one of its own PID namespace."""

    slot: int
    pid: int
    start_time: int
    pid_namespace: int
    name: str
    memory: int
    memory_by_kind: dict[str, int]
    wanted: int
    in_flight_ns: int
    spilled: int
    counters: Counters


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceUsage:
    """The slice on one device.

    `used` is what the limit is held against; it is never less than what the processes
    hold, and more only for what a crash left to be repaired.
    """

    used: int
    peak: int
    spilled: int
    suspect: bool
    counters: Counters
    processes: tuple[ProcessUsage, ...]


def _counters(raw: object) -> Counters:
    names = Counters.__dataclass_fields__
    return Counters(**{name: int(getattr(raw, name)) for name in names})


class UsagePage:
    """An open usage page; a context manager."""

    def __init__(self, path: Path) -> None:
        self._opened = library.load()
        pointer, fd = self._opened.ffi.new("struct vgpu_usage **"), self._opened.ffi.new("int *")
        code = self._opened.lib.vgpu_usage_open(str(path).encode(), pointer, fd)
        library.check(code, f"open usage page {path}")
        self._page: Any = pointer[0]
        self._fd = int(fd[0])
        self.path = path

    @classmethod
    def create(cls, path: Path, *, device_count: int) -> Self:
        """Makes the page, or opens a sound one and leaves it as it is."""
        library.check_device_count(device_count)
        code = library.load().lib.vgpu_usage_create(str(path).encode(), device_count)
        library.check(code, f"create usage page {path}")
        return cls(path)

    def reap(self) -> int:
        """Takes back what dead processes held; how many there were."""
        return library.check(self._opened.lib.vgpu_usage_reap(self._page, self._fd), f"reap {self.path}")

    def reconcile(self, device: int) -> int | None:
        """Takes away what crashes left counted twice: the bytes, or None while too busy to tell."""
        repaired = self._opened.ffi.new("uint64_t *")
        code = self._opened.lib.vgpu_usage_reconcile(self._page, device, repaired)
        if code == -errno.EAGAIN:
            return None
        library.check(code, f"reconcile {self.path}")
        return int(repaired[0])

    def used(self, device: int) -> int:
        """Bytes that the limit is held against."""
        return int(self._opened.lib.vgpu_usage_used(self._page, device))

    def read(self, device: int) -> DeviceUsage:
        """Everything about one device.

        The parts are read one after the other, so while processes allocate their sum
        need not match `used` exactly.
        """
        raw = self._page.devices[device]
        return DeviceUsage(
            used=self.used(device),
            peak=int(raw.peak),
            spilled=int(raw.spilled),
            suspect=bool(raw.suspect),
            counters=_counters(raw.total),
            processes=tuple(self._process(slot, device) for slot in self._live_slots()),
        )

    def _live_slots(self) -> list[int]:
        last = self._opened.lib.VGPU_SLOTS_MAX
        candidates = [*range(min(int(self._page.slots_used), last)), last]
        return [
            slot for slot in candidates if self._page.slots[slot].state == self._opened.lib.VGPU_SLOT_LIVE
        ]

    def _process(self, slot: int, device: int) -> ProcessUsage:
        ffi, lib = self._opened.ffi, self._opened.lib
        identity = self._page.slots[slot]
        account = self._page.accounts[slot * lib.VGPU_DEVICES_MAX + device]
        kinds = ffi.new("int64_t[]", len(KINDS))
        memory = int(lib.vgpu_usage_memory(self._page, slot, device, kinds))
        return ProcessUsage(
            slot=slot,
            pid=int(identity.pid),
            start_time=int(identity.start_time),
            pid_namespace=int(identity.pid_namespace),
            name=ffi.string(ffi.cast("char *", identity.name), 16).decode(errors="replace"),
            memory=memory,
            memory_by_kind=dict(zip(KINDS, map(int, kinds), strict=True)),
            wanted=int(account.wanted),
            in_flight_ns=int(account.in_flight_ns),
            spilled=int(account.spilled),
            counters=_counters(account.counters),
        )

    def close(self) -> None:
        """Unmaps the page and lets go of its file; twice is once."""
        if self._page is not None:
            self._opened.lib.vgpu_usage_close(self._page, self._fd)
            self._page = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class BusyShare:
    """How long a slice was measured busy, and how much of that was really its own."""

    covered_ns: int
    owned_ns: int

    @property
    def permille(self) -> int:
        """What to write as busy_permille; 1000 while nothing was measured."""
        return 1000 if not self.covered_ns else max(1, round(1000 * self.owned_ns / self.covered_ns))


def busy_shares(places: list[tuple[UsagePage, int]], *, since_ns: int, until_ns: int) -> list[BusyShare]:
    """Divides the time of one GPU between the slices that were busy on it at once.

    Each place is a slice's page and the GPU's number in it. Times are CLOCK_MONOTONIC; the
    rings remember the last 0.8 s. A GPU that slices time stretches everybody's kernels, so
    each slice measures also what the others took. owned_ns supposes that overlapping time
    is divided evenly; where NVML tells what each process used, that use over covered_ns is
    the better busy_permille. Raises PageError where a page is cut short meanwhile.
    """
    opened = library.load()
    pages = opened.ffi.new("struct vgpu_usage *[]", [page._page for page, _ in places])
    devices = opened.ffi.new("uint32_t[]", [device for _, device in places])
    covered, owned = (opened.ffi.new("uint64_t[]", len(places)) for _ in range(2))
    code = opened.lib.vgpu_busy_shares(pages, devices, len(places), since_ns, until_ns, covered, owned)
    library.check(code, "divide busy time")
    return [BusyShare(covered_ns=int(c), owned_ns=int(o)) for c, o in zip(covered, owned, strict=True)]


def clock_ns() -> int:
    """CLOCK_MONOTONIC, the clock of the pages."""
    return int(library.load().lib.vgpu_clock_ns())
