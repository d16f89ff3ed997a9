"""Busy time of one device, shared out between the slices that were busy on it at once."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from vgpu_shim.usage import BusyShare, UsagePage, busy_shares, clock_ns

if TYPE_CHECKING:
    from tests.shim.conftest import Slice

NewSlice = Callable[..., "Slice"]

ROUND = 200
"""Kernels of 100 us: 20 ms."""


def shares(slices: "list[Slice]", since_ns: int) -> list[BusyShare]:
    pages = [UsagePage(each.usage_path) for each in slices]
    found = busy_shares([(page, 0) for page in pages], since_ns=since_ns, until_ns=clock_ns())
    for page in pages:
        page.close()
    return found


def test_alone_on_the_device_all_busy_time_is_the_slices_own(new_slice: NewSlice) -> None:
    slice_ = new_slice()
    with slice_.tenant() as tenant:
        tenant.call("launch", 1)
        since = clock_ns()

        tenant.call("launch", ROUND)

        (share,) = shares([slice_], since)
    assert share.covered_ns > 0.9 * ROUND * 100_000
    assert (share.owned_ns, share.permille) == (share.covered_ns, 1000)


def test_a_slice_that_was_idle_takes_nothing_from_another(new_slice: NewSlice) -> None:
    busy, idle = new_slice(), new_slice()
    with busy.tenant() as tenant, idle.tenant():
        since = clock_ns()

        tenant.call("launch", ROUND)

        first, second = shares([busy, idle], since)
    assert first.owned_ns == first.covered_ns > 0
    assert (second.covered_ns, second.owned_ns, second.permille) == (0, 0, 1000)


def test_two_at_once_own_no_more_than_was_covered(new_slice: NewSlice) -> None:
    slices = [new_slice(), new_slice()]
    with slices[0].tenant() as first, slices[1].tenant() as second:
        since = clock_ns()

        for tenant in (first, second):
            tenant.send("launch", 5 * ROUND)
        for tenant in (first, second):
            assert tenant.receive() == [0, 0]

        found = shares(slices, since)
        elapsed = clock_ns() - since
    assert all(0 < share.owned_ns <= share.covered_ns for share in found)
    assert sum(share.owned_ns for share in found) <= elapsed


def test_time_before_the_window_does_not_count(new_slice: NewSlice) -> None:
    slice_ = new_slice()
    with slice_.tenant() as tenant:
        tenant.call("launch", ROUND)

        (share,) = shares([slice_], clock_ns())

    assert share.covered_ns == 0
