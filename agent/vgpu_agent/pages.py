"""The two open pages of one slice, as the agent uses them.

The limits page has two concerns, each with one caller: what the ledger says (``enforce``) and what is lent on
top for the moment (``lend``). The accounts are written by the tenant: they may be forged, replaced or cut
short, and all of that must only cost their own slice.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vgpu import enforcement
from vgpu_shim.library import PageError
from vgpu_shim.limits import DeviceLimits, LimitsPage
from vgpu_shim.usage import Counters, UsagePage

__all__ = ["Accounts", "AccountsError", "PageError", "SlicePages"]

WHOLE_PERMILLE = 1000


class AccountsError(Exception):
    """The accounts are not what the shim makes of them; the message says what was found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accounts:
    """What a slice says it has used of one device."""

    used_bytes: int
    counters: Counters


class SlicePages:
    """The pages below a slice's directory, made where they are missing and left as they are otherwise.

    Raises PageError where one is there and damaged, OSError where there is no room.
    """

    def __init__(self, directory: Path, slice_id: str, wanted: Sequence[enforcement.DeviceLimits]) -> None:
        self._accounts_file = directory / "usage" / "accounts"
        file = directory / "limits"
        if file.exists():
            self._limits = LimitsPage(file, writable=True)
        else:
            self._limits = LimitsPage.create(file, [_line(each) for each in wanted], slice_id=slice_id)
        self._lines = self._limits.read_all()
        self._usage = UsagePage.create(self._accounts_file, device_count=len(wanted))
        self._identity = self._found_identity()
        self._expected_bytes = self._accounts_file.stat().st_size

    @property
    def lines(self) -> list[DeviceLimits]:
        """What the limits page says, by device in the slice's order."""
        return list(self._lines)

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

    def lend(self, index: int, *, lent_percent: int, busy_permille: int) -> bool:
        """Puts a loan in force beside what the ledger says; False where it was already."""
        line = replace(self._lines[index], lent_percent=lent_percent, busy_permille=busy_permille)
        return self._write(index, line)

    def check(self) -> None:
        """Raises AccountsError where the accounts were replaced or cut; call it before reading them.

        Accounts that were replaced are opened anew, so that the next look sees what the slice uses now.
        """
        found = self._found_identity()
        if found is None or self._accounts_file.stat().st_size < self._expected_bytes:
            raise AccountsError("its accounts are missing or cut short; a process of the pod did that")
        if found != self._identity:
            self._reopen()
            self._identity = found
            raise AccountsError("its accounts were replaced; a process of the pod did that")

    def read(self, index: int) -> Accounts:
        """What was used of one device so far."""
        return Accounts(used_bytes=self._usage.used(index), counters=_counters(self._usage, index))

    def reap(self) -> int:
        """Takes back what dead processes held and what crashes left counted twice; how many had died."""
        died = self._usage.reap()
        for index in range(len(self._lines)):
            self._usage.reconcile(index)
        return died

    def close(self) -> None:
        """Lets go of both pages."""
        self._limits.close()
        self._usage.close()

    def _write(self, index: int, line: DeviceLimits) -> bool:
        if line == self._lines[index]:
            return False
        self._limits.write(index, line)
        self._lines[index] = line
        return True

    def _found_identity(self) -> tuple[int, int] | None:
        try:
            found = os.stat(self._accounts_file, follow_symlinks=False)
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def _reopen(self) -> None:
        try:
            fresh = UsagePage(self._accounts_file)
        except PageError as error:
            raise AccountsError(f"its accounts were replaced by something else: {error}") from None
        self._usage.close()
        self._usage = fresh


def _counters(usage: UsagePage, index: int) -> Counters:
    """The device's totals alone: reading every process too would cost the inner loop its budget."""
    total = usage._page.devices[index].total
    return Counters(
        launches=int(total.launches),
        gpu_ns=int(total.gpu_ns),
        throttled_ns=int(total.throttled_ns),
        queued_ns=int(total.queued_ns),
        refused=int(total.refused),
        refused_bytes=int(total.refused_bytes),
        waited_ns=int(total.waited_ns),
    )


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
    )
