"""From the ledger into the pages, and from the accounts into the report of what is in force.

A slice gets its directory and page when it appears in the ledger, before any pod of it starts; it keeps them
while a pod shows them. Nothing is confirmed before it is true: a lowered limit is reported once its page is
written and what is in use has been read after that. Loans are ``lending``'s, the API is ``publishing``'s.
"""

import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace

from vgpu import enforcement, values
from vgpu_agent import facts
from vgpu_agent.home import Home
from vgpu_agent.pages import AccountsError, SlicePages
from vgpu_agent.pressure import Look, Pressure
from vgpu_kube import logs
from vgpu_kube.objects import Object
from vgpu_shim.library import PageError

SETTLE_SECONDS = 0.01
"""An allocation that read the old limit just before it was lowered is counted within this time."""

REAP_SECONDS = 1.0

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Held:
    """One slice on this node: the ledger's entry, its pages, and what is confirmed of it."""

    slice: values.Slice
    pages: SlicePages | None = None
    refusal: enforcement.Refused | None = None
    confirmed: values.Enforced | None = None
    settles_at: float = 0.0
    pressure: Pressure = field(default_factory=Pressure)
    tampering: str = ""
    totals: tuple[int, int, int] = (0, 0, 0)
    looked_at: float | None = None


class Limits:
    """The slices of this node. Times are seconds of ``clock``, which never goes back."""

    def __init__(
        self, home: Home, *, clock: Callable[[], float], changed: Callable[[], None] = lambda: None
    ) -> None:
        self._home = home
        self._clock = clock
        self._changed = changed
        self._held: dict[str, Held] = {}
        self._facts: Mapping[str, enforcement.Facts] = {}
        self._crowded: Mapping[str, str] = {}
        self._reaped_at = clock()

    # ---- from the ledger

    def know(self, devices: Mapping[str, enforcement.Facts]) -> None:
        """These are the node's devices; every slice is held against them again."""
        if devices == self._facts:
            return
        self._facts = devices
        for held in self._held.values():
            self._enforce(held)
        self._crowd()

    def apply(self, slices: Mapping[str, values.Slice]) -> None:
        """Makes the pages say what the ledger says."""
        for slice_id in self._held.keys() - slices.keys():
            self._let_go(slice_id)
        for slice_id, slice_ in slices.items():
            held = self._held.get(slice_id)
            if held is None:
                held = self._held[slice_id] = Held(slice_)
            elif held.slice == slice_ and held.refusal is None and held.pages is not None:
                continue
            held.slice = slice_
            self._enforce(held)
        self._crowd()

    def slices(self) -> dict[str, values.Slice]:
        """What the ledger said last."""
        return {slice_id: held.slice for slice_id, held in self._held.items()}

    def sweep(self) -> None:
        """Deletes the directories of slices that are neither in the ledger nor shown to a pod."""
        for slice_id in self._home.slices():
            self._remove_unless_needed(slice_id)

    def obstacle(self, slice_id: str) -> str | None:
        """Why a pod of this slice must not start yet, None once its limits are in force."""
        held = self._held.get(slice_id)
        if held is None:
            return "its slice is not in the ledger of this node"
        if held.refusal is not None:
            return held.refusal.message
        return None if held.pages is not None else "its limits page is not written yet"

    def released(self, slice_id: str) -> None:
        """A pod that showed the slice has gone; the last one takes along what the ledger has given up."""
        self._remove_unless_needed(slice_id)

    # ---- from the accounts

    def look(self) -> None:
        """Reads what is in use, and calls ``changed`` where that changes what is reported."""
        now = self._clock()
        reap = now - self._reaped_at >= REAP_SECONDS
        if reap:
            self._reaped_at = now
        different = [self._look_at(held, now, reap) for held in self._held.values()]
        if any(different):
            self._changed()

    def reports(self) -> dict[str, Object]:
        """The entries of status.slices."""
        return {
            slice_id: facts.report(held.confirmed, [each.value for each in held.pressure.lacks])
            for slice_id, held in self._held.items()
            if held.confirmed is not None
        }

    def held(self) -> Iterator[tuple[str, Held, SlicePages]]:
        """The slices whose limits are in force, with their pages."""
        for slice_id, held in self._held.items():
            if held.pages is not None:
                yield slice_id, held, held.pages

    def close(self) -> None:
        """Lets go of all pages; they stay in force."""
        for held in self._held.values():
            if held.pages is not None:
                held.pages.close()
        self._held.clear()

    # ---- one slice

    def _crowd(self) -> None:
        self._crowded = enforcement.crowded(self.slices().values(), self._facts)
        self._changed()

    def _enforce(self, held: Held) -> None:
        wanted = enforcement.limits(held.slice, self._facts)
        if isinstance(wanted, enforcement.Refused):
            self._refuse(held, wanted)
            return
        try:
            self._write(held, wanted)
        except (OSError, PageError, ValueError) as error:
            self._refuse(held, enforcement.Refused(message=f"its limits cannot be written: {error}"))
            return
        held.refusal = None
        held.settles_at = self._clock() + (SETTLE_SECONDS if self._lowers(held) else 0.0)
        self._confirm(held, self._clock())

    def _write(self, held: Held, wanted: Collection[enforcement.DeviceLimits]) -> None:
        if held.pages is None:
            directory = self._home.make_slice(held.slice.id)
            held.pages = SlicePages(directory, held.slice.id, tuple(wanted))
        if held.pages.enforce(tuple(wanted)):
            logs.event(
                logger,
                logging.INFO,
                "limits written",
                slice=held.slice.id,
                claim=f"{held.slice.claim.namespace}/{held.slice.claim.name}",
                allocated=held.slice.allocated,
                revision=held.slice.revision,
            )

    def _refuse(self, held: Held, refusal: enforcement.Refused) -> None:
        if refusal != held.refusal:
            logs.event(logger, logging.WARNING, "slice refused", slice=held.slice.id, reason=refusal.message)
        held.refusal = refusal
        held.confirmed = enforcement.refused(held.slice, refusal, held.confirmed)

    def _lowers(self, held: Held) -> bool:
        before = held.confirmed
        return before is not None and held.slice.allocated.memory_bytes < before.memory_bytes

    def _confirm(self, held: Held, now: float) -> bool:
        """Whether the report on a slice is another than before."""
        if held.pages is None or held.refusal is not None or now < held.settles_at:
            return False
        try:
            held.pages.check()
            used = [held.pages.read(index).used_bytes for index in range(len(held.slice.device_uuids))]
            held.tampering = ""
        except AccountsError as error:
            if not held.tampering:
                logs.event(
                    logger, logging.WARNING, "accounts damaged", slice=held.slice.id, reason=str(error)
                )
            held.tampering = str(error)
            used = [held.slice.held_memory_bytes]  # nobody knows better: nothing was freed
        confirmed = enforcement.report(held.slice, used, note=self._note(held))
        if held.tampering:
            confirmed = replace(confirmed, message=held.tampering)
        different = confirmed != held.confirmed
        held.confirmed = confirmed
        return different

    def _note(self, held: Held) -> str:
        notes = (self._crowded.get(uuid) for uuid in held.slice.device_uuids)
        return next((note for note in notes if note), "")

    def _look_at(self, held: Held, now: float, reap: bool) -> bool:
        if held.pages is None:
            return False
        different = self._confirm(held, now)
        if held.tampering:
            return different
        try:
            if reap:
                held.pages.reap()
            return self._weigh(held, held.pages, now) or different
        except (AccountsError, PageError):  # since a moment; the next look says so
            return different

    def _weigh(self, held: Held, pages: SlicePages, now: float) -> bool:
        """Whether the pressure on a slice is another than before."""
        counters = [pages.read(index).counters for index in range(len(held.slice.device_uuids))]
        totals = (
            sum(each.throttled_ns for each in counters),
            sum(each.queued_ns for each in counters),
            sum(each.refused for each in counters),
        )
        before, last = held.totals, held.looked_at
        held.totals, held.looked_at = totals, now
        if last is None or now <= last:
            return False
        look = Look(
            seconds=now - last,
            throttled_ns=totals[0] - before[0],
            queued_ns=totals[1] - before[1],
            refused=totals[2] - before[2],
        )
        lacked = held.pressure.lacks
        held.pressure = held.pressure.after(look, now=now)
        return held.pressure.lacks != lacked

    def _let_go(self, slice_id: str) -> None:
        held = self._held.pop(slice_id)
        if held.pages is not None:
            held.pages.close()
        self._remove_unless_needed(slice_id)

    def _remove_unless_needed(self, slice_id: str) -> None:
        if slice_id not in self._held and not self._home.volumes_of(slice_id):
            self._home.remove_slice(slice_id)
            logs.event(logger, logging.INFO, "slice removed", slice=slice_id)
