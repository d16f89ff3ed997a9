"""The lender on real pages: what counters say becomes loans in the pages, and nothing else changes."""

import pathlib
import struct
from collections.abc import Iterator
from typing import Protocol

import pytest

import builders
from builders import GIB, amounts
from vgpu import enforcement, values
from vgpu_agent import lending, limits, mounts
from vgpu_agent.home import Home
from vgpu_shim import library, usage
from vgpu_shim.limits import DeviceLimits, LimitsPage

GPU = "GPU-11111111-2222-3333-4444-555555555555"


class Built(Protocol):
    @property
    def shim(self) -> pathlib.Path: ...


class Scene:
    """Two slices on one GPU: an owner of 60 % and a guest of 40 %; the test writes their counters."""

    def __init__(self, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
        self.home = home
        self.now = 10_000_000_000
        home.prepare()
        self.limits = limits.Limits(home, clock=lambda: self.now / 1e9)
        self.limits.know({GPU: enforcement.Facts(memory_bytes=80 * GIB)})
        self.limits.apply({each.id: each for each in (self.entry("owner", 60), self.entry("guest", 40))})
        self.lender = lending.Lender(self.limits)
        monkeypatch.setattr(usage, "clock_ns", lambda: self.now)
        self.spent = {"owner": [0, 0], "guest": [0, 0]}
        self.lender.turn()

    def entry(self, id_: str, percent: int, *, revision: int = 1) -> values.Slice:
        return builders.slice_(
            id_, uuids=(GPU,), allocated=amounts(1, percent), limits=amounts(1, 100), revision=revision
        )

    def period(self, *, owner: float = 0, guest: float = 0, guest_held_back: float = 0) -> None:
        """Lets 50 ms pass in which the slices used such parts of the GPU."""
        self.now += 50_000_000
        self._spend("owner", owner, 0)
        self._spend("guest", guest, guest_held_back)
        self.lender.turn()

    def page(self, slice_id: str) -> DeviceLimits:
        with LimitsPage(self.home.slice_directory(slice_id) / "limits") as page:
            return page.read(0)

    def _spend(self, slice_id: str, used: float, held_back: float) -> None:
        spent = self.spent[slice_id]
        spent[0] += int(used * 50_000_000)
        spent[1] += int(held_back * 50_000_000)
        ffi = library.load().ffi
        offset = ffi.offsetof("struct vgpu_usage", "devices") + 192 + 8  # gpu_ns, throttled_ns
        with (self.home.slice_directory(slice_id) / "usage" / "accounts").open("r+b") as accounts:
            accounts.seek(offset)
            accounts.write(struct.pack("<2Q", *spent))


@pytest.fixture
def scene(built: Built, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    monkeypatch.setenv("VGPU_LIBRARY", str(built.shim))
    made = Scene(Home(tmp_path / "home", mounts.LinkMounts(), built.shim), monkeypatch)
    yield made
    made.limits.close()


def lent(scene: Scene) -> None:
    for _ in range(6):
        scene.period(guest=0.4, guest_held_back=0.5)


def test_idle_compute_reaches_the_page_of_the_slice_that_is_held_back(scene: Scene) -> None:
    lent(scene)

    assert scene.page("guest").lent_percent == 60
    assert scene.page("guest").compute_percent == 40
    assert scene.page("owner").lent_percent == 0
    share = scene.lender.lent("guest", GPU)
    assert share is not None
    assert share.lent_percent == 60


def test_an_owner_that_wakes_has_its_compute_back_after_one_period(scene: Scene) -> None:
    lent(scene)

    scene.period(owner=0.3, guest=0.9, guest_held_back=0.1)

    assert scene.page("guest").lent_percent == 0


def test_a_resize_keeps_the_loan_as_far_as_the_ceiling_permits(scene: Scene) -> None:
    lent(scene)

    scene.limits.apply({"owner": scene.entry("owner", 60), "guest": scene.entry("guest", 50, revision=2)})

    assert (scene.page("guest").compute_percent, scene.page("guest").lent_percent) == (50, 50)


def test_nothing_is_written_while_nothing_changes(scene: Scene) -> None:
    lent(scene)
    with LimitsPage(scene.home.slice_directory("guest") / "limits") as page:
        before = page.generation

        for _ in range(20):
            scene.period(guest=0.9, guest_held_back=0.5)

        assert page.generation == before


def test_loans_end_with_the_agent(scene: Scene) -> None:
    lent(scene)

    scene.lender.withdraw()

    assert scene.page("guest").lent_percent == 0
    assert scene.page("guest").compute_percent == 40


def test_a_slice_whose_accounts_are_cut_short_neither_borrows_nor_stops_the_others(scene: Scene) -> None:
    (scene.home.slice_directory("owner") / "usage" / "accounts").write_bytes(b"")

    for _ in range(6):
        scene.now += 50_000_000
        scene._spend("guest", 0.4, 0.5)
        scene.lender.turn()

    assert scene.page("guest").lent_percent == 60
