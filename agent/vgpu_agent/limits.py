"""From the ledger into the pages, and from the accounts into the report of what is in force.

A slice gets its directory and page when it appears in the ledger, before any pod of it starts; it keeps them
while a pod shows them. Loans are ``lending``'s, the API is ``publishing``'s, one slice is ``held``'s.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping

from vgpu import enforcement, values
from vgpu_agent import facts
from vgpu_agent.held import Held
from vgpu_agent.home import Home
from vgpu_agent.pages import SlicePages, memory_in_force
from vgpu_kube import logs
from vgpu_kube.objects import Object
from vgpu_shim.library import PageError

REAP_SECONDS = 1.0
"""How often dead processes are looked for, and what was refused is tried again."""

logger = logging.getLogger(__name__)


class Limits:
    """The slices of this node. Times are seconds of ``clock``, which never goes back.

    ``changed`` is called whenever ``reports`` or ``obstacle`` may answer otherwise than before.
    """

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
        self._enforce(self._held.values())
        self._settled()

    def apply(self, slices: Mapping[str, values.Slice]) -> None:
        """Makes the pages say what the ledger says."""
        for slice_id in self._held.keys() - slices.keys():
            self._let_go(slice_id)
        changed = []
        for slice_id, slice_ in slices.items():
            held = self._held.setdefault(slice_id, Held(slice_))
            if held.slice != slice_ or held.refusal is not None or held.pages is None:
                held.slice = slice_
                changed.append(held)
        self._enforce(changed)
        self._settled()

    def obstacle(self, slice_id: str) -> str | None:
        """Why a pod of this slice must not start yet, None once its limits are in force."""
        held = self._held.get(slice_id)
        if held is None:
            return "its slice is not in the ledger of this node"
        if held.refusal is not None:
            return held.refusal.message
        return None if held.pages is not None else "its limits page is not written yet"

    # ---- from the accounts

    def look(self) -> None:
        """Reads what is in use, and calls ``changed`` where that changes what is reported."""
        now, before = self._clock(), self.reports()
        if now - self._reaped_at >= REAP_SECONDS:
            self._reaped_at = now
            self._tidy()
        for held in self._held.values():
            held.confirm(now=now, note=self._note(held))
            held.weigh(now=now)
        if self.reports() != before:
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

    # ---- directories

    def released(self, slice_id: str) -> None:
        """A pod that showed the slice has gone; the last one takes along what the ledger has given up."""
        self._remove_unless_needed(slice_id)

    def sweep(self) -> None:
        """Deletes the directories of slices that are neither in the ledger nor shown to a pod."""
        for slice_id in self._home.slices():
            self._remove_unless_needed(slice_id)

    def close(self) -> None:
        """Lets go of all pages; they stay in force."""
        for _, _, pages in self.held():
            pages.close()
        self._held.clear()

    # ---- one slice

    def _enforce(self, some: Iterable[Held]) -> None:
        """Puts these slices' limits in force, each judged beside all the others of the node."""
        in_force = {slice_id: self._permitted(held) for slice_id, held in self._held.items()}
        slices = [held.slice for held in self._held.values()]
        verdicts = enforcement.verdicts(slices, self._facts, in_force)
        for held in some:
            self._put(held, verdicts[held.slice.id])

    def _put(self, held: Held, wanted: tuple[enforcement.DeviceLimits, ...] | enforcement.Refused) -> None:
        if isinstance(wanted, enforcement.Refused):
            held.refuse(wanted)
            return
        try:
            if held.pages is None:
                directory = self._home.make_slice(held.slice.id)
                held.pages = SlicePages(directory, held.slice.id, wanted)
            if held.pages.resized_by(wanted) and (refusal := self._fixed(held)) is not None:
                held.refuse(refusal)
                return
            held.enforce(wanted, now=self._clock())
        except (OSError, PageError, ValueError) as error:
            held.refuse(enforcement.Refused(message=f"its limits cannot be written: {error}"))
        held.confirm(now=self._clock(), note=self._note(held))

    def _permitted(self, held: Held) -> int:
        """The memory in bytes that a slice's page permits now, though an agent before this one wrote it."""
        if held.pages is not None:
            return max(line.memory_limit for line in held.pages.lines)
        try:
            return memory_in_force(self._home.slice_directory(held.slice.id))
        except ValueError:  # no name of a directory: its refusal says so
            return 0

    def _fixed(self, held: Held) -> enforcement.Refused | None:
        """Why limits cannot change now; they can while no pod shows them."""
        shown = self._home.volumes_of(held.slice.id)
        return enforcement.fixed(held.slice, self._facts) if shown else None

    def _tidy(self) -> None:
        for held in self._held.values():
            held.reap()
        if refused := [held for held in self._held.values() if held.refusal is not None]:
            self._enforce(refused)

    def _settled(self) -> None:
        slices = [held.slice for held in self._held.values()]
        self._crowded = enforcement.crowded(slices, self._facts)
        self._changed()

    def _note(self, held: Held) -> str:
        notes = (self._crowded.get(uuid) for uuid in held.slice.device_uuids)
        return next((note for note in notes if note), "")

    def _let_go(self, slice_id: str) -> None:
        held = self._held.pop(slice_id)
        if held.pages is not None:
            held.pages.close()
        self._remove_unless_needed(slice_id)

    def _remove_unless_needed(self, slice_id: str) -> None:
        if slice_id not in self._held and not self._home.volumes_of(slice_id):
            self._home.remove_slice(slice_id)
            logs.event(logger, logging.INFO, "slice removed", slice=slice_id)
