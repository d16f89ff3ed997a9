"""One slice on this node: what the ledger says of it, its pages, and what may be confirmed of it.

Nothing is confirmed before it is true, and what a tenant did to its accounts never frees anything. When to
look, and whom to tell, is ``limits``' business.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from vgpu import enforcement, values
from vgpu_agent import answer
from vgpu_agent.pages import Accounts, AccountsError, SlicePages
from vgpu_agent.pressure import Look, Pressure
from vgpu_kube import logs
from vgpu_shim.library import PageError

SETTLE_SECONDS = 0.01
"""An allocation that read the old limit just before it was lowered is counted within this time."""

HEAR_SECONDS = 1.0
"""How often an application's own words are taken up: each may be a status write."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Totals:
    """Counters of a slice over all its devices, and when they were read."""

    at: float
    throttled_ns: int
    queued_ns: int
    refused: int


@dataclass(slots=True)
class Held:
    """A slice of the ledger. Times are seconds of a clock that never goes back."""

    slice: values.Slice
    pages: SlicePages | None = None
    refusal: enforcement.Refused | None = None
    confirmed: values.Enforced | None = None
    settles_at: float = 0.0
    pressure: Pressure = field(default_factory=Pressure)
    tampering: str = ""
    _last: _Totals | None = None
    _said: str = ""
    _hears_at: float = 0.0

    @property
    def devices(self) -> range:
        """The numbers of the slice's devices in its pages."""
        return range(len(self.slice.device_uuids))

    def enforce(self, wanted: Sequence[enforcement.DeviceLimits], *, now: float) -> None:
        """Puts limits in force; what they confirm is said by ``confirm``."""
        assert self.pages is not None, "a slice without pages enforces nothing"
        if self.pages.enforce(wanted):
            self._log_written()
        self.refusal = None
        self.settles_at = now + (SETTLE_SECONDS if self._lowers() else 0.0)

    def refuse(self, refusal: enforcement.Refused) -> None:
        """The slice cannot be enforced as the ledger says; what was in force stays."""
        if refusal != self.refusal:
            logs.event(logger, logging.WARNING, "slice refused", slice=self.slice.id, reason=refusal.message)
        self.refusal = refusal
        self.confirmed = enforcement.refused(self.slice, refusal, self.confirmed)

    def confirm(self, *, now: float, note: str) -> None:
        """Brings what is confirmed up to what is true now."""
        if self.pages is None or self.refusal is not None or now < self.settles_at:
            return
        try:
            self.pages.check()
            used = [each.used_bytes for each in self._read(self.pages)]
            self.tampering = ""
        except AccountsError as error:
            self._accuse(str(error))
            used = [self.slice.held_memory_bytes]  # nobody knows better: nothing was freed
        confirmed = enforcement.report(self.slice, used, note=note, says=self._says(self.pages, used, now))
        self.confirmed = replace(confirmed, message=self.tampering) if self.tampering else confirmed

    def weigh(self, *, now: float) -> None:
        """Brings the pressure flags up to date."""
        if self.pages is None or self.tampering:
            return
        try:
            totals = _totals(self._read(self.pages), now)
        except AccountsError:  # since a moment; the next look says so
            return
        before, self._last = self._last, totals
        if before is not None and now > before.at:
            self.pressure = self.pressure.after(_between(before, totals), now=now)

    def reap(self) -> None:
        """Takes back what dead processes held."""
        if self.pages is None or self.tampering:
            return
        try:
            self.pages.reap()
        except PageError as error:
            self._accuse(str(error))

    def _says(self, pages: SlicePages, used: Sequence[int], now: float) -> str:
        """The application's reason for holding what it should free, heard once a second at most."""
        if max(used) <= self.slice.allocated.memory_bytes:
            self._said = ""
        elif now >= self._hears_at:
            self._hears_at, self._said = now + HEAR_SECONDS, answer.of(pages.directory)
        return self._said

    def _read(self, pages: SlicePages) -> list[Accounts]:
        return [pages.read(number) for number in self.devices]

    def _lowers(self) -> bool:
        before = self.confirmed
        return before is not None and self.slice.allocated.memory_bytes < before.memory_bytes

    def _accuse(self, tampering: str) -> None:
        if not self.tampering:
            logs.event(logger, logging.WARNING, "accounts damaged", slice=self.slice.id, reason=tampering)
        self.tampering = tampering

    def _log_written(self) -> None:
        claim = self.slice.claim
        logs.event(
            logger,
            logging.INFO,
            "limits written",
            slice=self.slice.id,
            claim=f"{claim.namespace}/{claim.name}",
            allocated=self.slice.allocated,
            revision=self.slice.revision,
        )


def _totals(accounts: Sequence[Accounts], now: float) -> _Totals:
    counters = [each.counters for each in accounts]
    return _Totals(
        at=now,
        throttled_ns=sum(each.throttled_ns for each in counters),
        queued_ns=sum(each.queued_ns for each in counters),
        refused=sum(each.refused for each in counters),
    )


def _between(before: _Totals, after: _Totals) -> Look:
    return Look(
        seconds=after.at - before.at,
        throttled_ns=after.throttled_ns - before.throttled_ns,
        queued_ns=after.queued_ns - before.queued_ns,
        refused=after.refused - before.refused,
    )
