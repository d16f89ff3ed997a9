"""The inner loop's hands: measures every slice, asks the core who may borrow, writes loans into the pages.

Many times a second and in microseconds: only totals are read, and only what changed is written. Also told
to the shim here is which part of its measured GPU time was really its own, because a GPU that switches
between slices stretches everybody's kernels.
"""

from collections import defaultdict
from typing import NamedTuple

from vgpu import lending
from vgpu_agent.held import Held
from vgpu_agent.limits import Limits
from vgpu_agent.pages import Accounts, AccountsError, SlicePages
from vgpu_shim import library, usage

WINDOW_NS = 200_000_000
"""Over how long the own part of measured time is taken; the shim's rings remember 0.8 s."""

WHOLE_PERMILLE = 1000
WINDOW_PERIODS = 4
"""How many periods make a window: each device's part is measured once in it, one device after the other."""

DEBT_NS = 10_000_000
"""A slice that is so far in debt has launched more than its share pays for: it wants all of it."""

STEADY_PERMILLE = 20
"""Smaller changes of that part are not worth a write: each makes every process look at the page again."""


class _Place(NamedTuple):
    """One slice on one device: its id, entry, pages, and the device's number in them."""

    slice_id: str
    held: Held
    pages: SlicePages
    number: int


class Lender:
    """Lends the idle compute of each device of the node."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._read_at = 0
        self._readings: dict[tuple[str, int], Accounts] = {}
        self._turn = 0
        self._shares: dict[str, dict[str, lending.Share]] = {}

    def turn(self) -> None:
        """One period: measure, decide, write."""
        now = usage.clock_ns()
        period_ns, self._read_at = now - self._read_at, now
        readings = self._readings
        self._readings = {}
        places = self._places()
        for number, (device, on_device) in enumerate(places.items()):
            measured = number % WINDOW_PERIODS == self._turn % WINDOW_PERIODS
            self._share(device, on_device, readings, _Period(now, period_ns, measured))
        self._turn += 1
        for device in self._shares.keys() - places.keys():
            del self._shares[device]

    def lent(self, slice_id: str, device: str) -> lending.Share | None:
        """What a slice borrows and reserves on a device at the moment."""
        return self._shares.get(device, {}).get(slice_id)

    def withdraw(self) -> None:
        """Takes all loans back; nobody would when the owners wake."""
        for on_device in self._places().values():
            for each in on_device:
                each.pages.lend(each.number, lent_percent=0, busy_permille=0)
        self._shares.clear()

    def _places(self) -> dict[str, list[_Place]]:
        places: defaultdict[str, list[_Place]] = defaultdict(list)
        for slice_id, held, pages in self._limits.held():
            if held.tampering or not self._measure(slice_id, held, pages):
                continue
            for index, uuid in enumerate(held.slice.device_uuids):
                places[uuid].append(_Place(slice_id, held, pages, index))
        return places

    def _measure(self, slice_id: str, held: Held, pages: SlicePages) -> bool:
        """Reads a slice's counters on all its devices; False where its accounts are not to be trusted."""
        try:
            for index in range(len(held.slice.device_uuids)):
                self._readings[slice_id, index] = pages.read(index)
        except AccountsError:  # ``limits`` says so at its next look
            return False
        return True

    def _share(
        self,
        device: str,
        places: list[_Place],
        before: dict[tuple[str, int], Accounts],
        period: "_Period",
    ) -> None:
        tenants = [
            self._tenant(each, before.get((each.slice_id, each.number)), period.now) for each in places
        ]
        shares = lending.share(tenants, self._shares.get(device, {}), period_ns=period.length_ns)
        permilles = _permilles(places, tenants, period.now) if period.measured else _written(places)
        self._shares[device] = shares
        for each, permille in zip(places, permilles, strict=True):
            each.pages.lend(
                each.number, lent_percent=shares[each.slice_id].lent_percent, busy_permille=permille
            )

    def _tenant(self, place: _Place, before: Accounts | None, clock_ns: int) -> lending.Tenant:
        accounts = self._readings[place.slice_id, place.number]
        now, last = accounts.counters, (before or accounts).counters
        return lending.Tenant(
            id=place.slice_id,
            allocated_percent=place.held.slice.allocated.compute_percent,
            ceiling_percent=place.held.slice.limits.compute_percent,
            used_ns=max(0, now.gpu_ns - last.gpu_ns),
            throttled_ns=max(0, now.throttled_ns - last.throttled_ns),
            queued_ns=max(0, now.queued_ns - last.queued_ns),
            launches=max(0, now.launches - last.launches),
            indebted=accounts.paid_at_ns > clock_ns + DEBT_NS,
        )


class _Period(NamedTuple):
    """One period: its end and length in nanoseconds, and whether own parts are measured in it."""

    now: int
    length_ns: int
    measured: bool


def _written(places: list[_Place]) -> list[int]:
    return [each.pages.busy_permille(each.number) or WHOLE_PERMILLE for each in places]


def _permilles(places: list[_Place], tenants: list[lending.Tenant], now: int) -> list[int]:
    """What part of its measured time was each slice's own, in permille; whole where it was alone."""
    written = _written(places)
    if sum(1 for each in tenants if each.used_ns) < 2:
        measured = [WHOLE_PERMILLE] * len(places)
    elif not all(each.pages.sound for each in places):
        measured = written
    else:
        measured = _own_parts(places, now) or written
    return [_steady(old, new) for old, new in zip(written, measured, strict=True)]


def _own_parts(places: list[_Place], now: int) -> list[int]:
    """Own parts in permille; none where a tenant cut its accounts short in this very moment."""
    pages = [(each.pages.usage, each.number) for each in places]
    try:
        shares = usage.busy_shares(pages, since_ns=max(0, now - WINDOW_NS), until_ns=now)
    except library.PageError:  # ``limits`` says so at its next look
        return []
    return [each.permille for each in shares]


def _steady(old: int, new: int) -> int:
    moved = abs(new - old) >= STEADY_PERMILLE or (new == WHOLE_PERMILLE and old != new)
    return new if moved else old
