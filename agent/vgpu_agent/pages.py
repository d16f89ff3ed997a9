"""The two open pages of one slice, as the agent uses them.

The limits page has two concerns, each with one caller: what the ledger says (``enforce``) and what is lent on
top for the moment (``lend``). The accounts are written by the tenant: they may be forged, replaced or cut
short, and all of that must only cost their own slice. So totals are read from the file and not from memory,
where a page that was cut off would be the agent's end.
"""

import contextlib
import functools
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from vgpu import enforcement
from vgpu_shim import library
from vgpu_shim.limits import DeviceLimits, LimitsPage
from vgpu_shim.usage import UsagePage

WORD, COUNTERS = 8, 8
_HEAD = struct.Struct(f"<Q56xQ120x{COUNTERS}Q")
"""The first words of struct vgpu_usage_device: `used`, `schedule` at 64, the counters at 192."""

OPENING_BYTES = 12

CUT_SHORT = "its accounts are missing or cut short; a process of the pod did that"


class AccountsError(Exception):
    """The accounts are not what the shim makes of them; the message says what was found."""


class Counters(NamedTuple):
    """Numbers that only grow, in the order of the page. Times in nanoseconds, memory in bytes."""

    launches: int
    gpu_ns: int
    throttled_ns: int
    queued_ns: int
    refused: int
    refused_bytes: int
    waited_ns: int


class Accounts(NamedTuple):
    """What a slice says it has used of one device.

    ``paid_at_ns`` is when, by CLOCK_MONOTONIC, its share will have paid for all that it has launched: it
    moves at the launch, while counters move when the work is done.
    """

    used_bytes: int
    paid_at_ns: int
    counters: Counters


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where the accounts of a device lie in the file, as the shim's header has it."""

    devices: int
    device_bytes: int
    bytes_mask: int

    def offset(self, index: int) -> int:
        return self.devices + index * self.device_bytes


@functools.cache
def _layout() -> _Layout:
    opened = library.load()
    devices, device = "struct vgpu_usage", "struct vgpu_usage_device"
    assert opened.ffi.offsetof(device, "schedule") == 64
    assert opened.ffi.offsetof(device, "total") == _HEAD.size - COUNTERS * WORD
    return _Layout(
        devices=int(opened.ffi.offsetof(devices, "devices")),
        device_bytes=int(opened.ffi.sizeof(device)),
        bytes_mask=int(opened.lib.VGPU_BYTES_MASK),
    )


class SlicePages:
    """The pages below a slice's directory, made where they are missing and left as they are otherwise.

    Raises PageError where one is there and damaged, OSError where there is no room.
    """

    def __init__(self, directory: Path, slice_id: str, wanted: Sequence[enforcement.DeviceLimits]) -> None:
        self.directory = directory
        self._accounts_file = directory / "usage" / "accounts"
        self._layout = _layout()
        with contextlib.ExitStack() as opened:
            self._limits = opened.enter_context(_limits_page(directory / "limits", slice_id, wanted))
            self._lines = self._limits.read_all()
            self._usage = opened.enter_context(
                UsagePage.create(self._accounts_file, device_count=len(wanted))
            )
            self._file = os.open(self._accounts_file, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            opened.pop_all()  # all there: nothing is closed again
        self._identity = self._found_identity()
        self._expected_bytes = os.fstat(self._file).st_size
        self._expected_opening = self._opening()

    @property
    def lines(self) -> list[DeviceLimits]:
        """What the limits page says, by device in the slice's order."""
        return list(self._lines)

    def busy_permille(self, index: int) -> int:
        """What part of its measured time the page says is the slice's own; 0 for all."""
        return self._lines[index].busy_permille

    @property
    def usage(self) -> UsagePage:
        """The accounts, for what reads them whole; call ``check`` before."""
        return self._usage

    def enforce(self, wanted: Sequence[enforcement.DeviceLimits]) -> bool:
        """Puts limits in force, whatever is lent; False where they were already."""
        changed = False
        for index, (before, limits) in enumerate(zip(self._lines, wanted, strict=True)):
            room = limits.compute_ceiling_percent - limits.compute_percent
            kept = {"lent_percent": min(before.lent_percent, room), "busy_permille": before.busy_permille}
            changed = self._write(index, replace(_line(limits), **kept)) or changed  # type: ignore[arg-type]  # two of its fields
        return changed

    def resized_by(self, wanted: Sequence[enforcement.DeviceLimits]) -> bool:
        """Whether these limits give more or less than what is in force."""
        return any(
            (line.memory_limit, line.compute_percent) != (limits.memory_bytes, limits.compute_percent)
            for line, limits in zip(self._lines, wanted, strict=True)
        )

    def lend(self, index: int, *, lent_percent: int, busy_permille: int) -> bool:
        """Puts a loan in force beside what the ledger says; False where it was already."""
        line = self._lines[index]
        if (line.lent_percent, line.busy_permille) == (lent_percent, busy_permille):
            return False
        return self._write(index, replace(line, lent_percent=lent_percent, busy_permille=busy_permille))

    @property
    def sound(self) -> bool:
        """Whether the accounts are there whole at this moment, and the ones that were opened."""
        found = self._found_identity()
        return found == self._identity and os.fstat(self._file).st_size >= self._expected_bytes

    def check(self) -> None:
        """Raises AccountsError where the accounts were replaced or cut; call it before reading them.

        Accounts that were replaced are opened anew, so that the next look sees what the slice uses now.
        """
        found = self._found_identity()
        if found is None or not self._is_whole():
            raise AccountsError(CUT_SHORT)
        if found == self._identity and self._opening() != self._expected_opening:
            raise AccountsError("its accounts were overwritten; a process of the pod did that")
        if found != self._identity:
            self._reopen()
            self._identity = found
            raise AccountsError("its accounts were replaced; a process of the pod did that")

    def read(self, index: int) -> Accounts:
        """What was used of one device so far. Raises AccountsError where the accounts are cut short."""
        head = os.pread(self._file, _HEAD.size, self._layout.offset(index))
        if len(head) < _HEAD.size:
            raise AccountsError(CUT_SHORT)
        used, schedule, *counters, _ = _HEAD.unpack(head)
        return Accounts(
            used_bytes=used & self._layout.bytes_mask, paid_at_ns=schedule, counters=Counters(*counters)
        )

    def reap(self) -> int:
        """Takes back what dead processes held and what crashes left counted twice; how many had died.

        Nothing is done to accounts that are not sound: these are read in memory. Raises PageError where they
        cease to be while they are read.
        """
        if not self.sound:
            return 0
        try:
            died = self._usage.reap()
            for index in range(len(self._lines)):
                self._usage.reconcile(index)
        except library.PageError:
            self._identity = (0, 0)  # no file's: opened anew at the next check, without the locks of this one
            raise
        return died

    def close(self) -> None:
        """Lets go of both pages."""
        self._limits.close()
        self._usage.close()
        os.close(self._file)

    def _write(self, index: int, line: DeviceLimits) -> bool:
        if line == self._lines[index]:
            return False
        self._limits.write(index, line)
        self._lines[index] = line
        return True

    def _opening(self) -> bytes:
        """What no process of the slice has a reason to change: magic and version."""
        return os.pread(self._file, OPENING_BYTES, 0)

    def _is_whole(self) -> bool:
        try:
            return self._accounts_file.stat().st_size >= self._expected_bytes
        except OSError:
            return False

    def _found_identity(self) -> tuple[int, int] | None:
        try:
            found = os.stat(self._accounts_file, follow_symlinks=False)
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def _reopen(self) -> None:
        try:
            fresh = UsagePage(self._accounts_file)
            file = os.open(self._accounts_file, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except (library.PageError, OSError) as error:
            raise AccountsError(f"its accounts were replaced by something else: {error}") from None
        self._usage.close()
        os.close(self._file)
        self._usage, self._file = fresh, file


def memory_in_force(directory: Path) -> int:
    """The memory in bytes that a slice's page permits on each device; 0 where there is none to be read."""
    try:
        with LimitsPage(directory / "limits") as page:
            return max((line.memory_limit for line in page.read_all()), default=0)
    except (OSError, library.PageError):
        return 0


def _limits_page(file: Path, slice_id: str, wanted: Sequence[enforcement.DeviceLimits]) -> LimitsPage:
    if file.exists():
        return LimitsPage(file, writable=True)  # a damaged one is not replaced: processes may have it open
    return LimitsPage.create(file, [_line(each) for each in wanted], slice_id=slice_id)


def _line(limits: enforcement.DeviceLimits) -> DeviceLimits:
    return DeviceLimits(
        uuid=limits.device_uuid,
        memory_limit=limits.memory_bytes,
        memory_target=limits.memory_bytes,
        memory_ceiling=limits.memory_ceiling_bytes,
        compute_percent=limits.compute_percent,
        ceiling_percent=limits.compute_ceiling_percent,
        weight=limits.weight,
        priority=limits.priority,
        revision=limits.revision,
        context_bytes=limits.context_bytes,
    )
