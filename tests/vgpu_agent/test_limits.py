"""Limits on real pages of the real shim, with a clock of the test's own."""

import dataclasses
import os
import pathlib
import shutil
from collections.abc import Iterator
from typing import Protocol

import pytest

import builders
from builders import GIB, amounts
from vgpu import enforcement, values
from vgpu_agent import held, limits, mounts
from vgpu_agent.home import Home, Volume
from vgpu_kube.objects import Object
from vgpu_shim.limits import DeviceLimits, LimitsPage

GPU = "GPU-11111111-2222-3333-4444-555555555555"
OTHER = "GPU-66666666-7777-8888-9999-000000000000"
DEVICES = {uuid: enforcement.Facts(memory_bytes=80 * GIB) for uuid in (GPU, OTHER)}


class Built(Protocol):
    @property
    def shim(self) -> pathlib.Path: ...


@dataclasses.dataclass
class Bench:
    home: Home
    now: float = 100.0
    told: int = 0

    def __post_init__(self) -> None:
        self.limits = self.start()

    def start(self) -> limits.Limits:
        """An agent's limits, as after a restart."""
        self.home.prepare()
        started = limits.Limits(self.home, clock=lambda: self.now, changed=self._tell)
        started.know(DEVICES)
        return started

    def apply(self, *slices: values.Slice) -> None:
        self.limits.apply({each.id: each for each in slices})

    def page(self, slice_id: str = "a", index: int = 0) -> DeviceLimits:
        with LimitsPage(self.home.slice_directory(slice_id) / "limits") as page:
            return page.read(index)

    def report(self, slice_id: str = "a") -> Object:
        return self.limits.reports()[slice_id]

    def show(self, slice_id: str) -> None:
        """Publishes the slice to a pod, as the CSI service does."""
        target = self.home.root.parent / "pod"
        self.home.remember(Volume(id="v", slice_id=slice_id, pod_uid="p", target=str(target)))
        self.home.mounts.expose(self.home.slice_directory(slice_id), target)

    def later(self, seconds: float) -> None:
        self.now += seconds
        self.limits.look()

    def _tell(self) -> None:
        self.told += 1


@pytest.fixture
def bench(built: Built, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setenv("VGPU_LIBRARY", str(built.shim))
    made = Bench(Home(tmp_path / "home", mounts.LinkMounts(), built.shim))
    yield made
    made.limits.close()


def entry(gib: float = 16, percent: int = 25, *, id_: str = "a", revision: int = 1) -> values.Slice:
    return builders.slice_(
        id_, uuids=(GPU,), allocated=amounts(gib, percent), limits=amounts(40, 100), revision=revision
    )


def test_a_slice_of_the_ledger_has_its_limits_before_any_pod_starts(bench: Bench) -> None:
    assert bench.limits.obstacle("a") == "its slice is not in the ledger of this node"

    bench.apply(entry())

    assert bench.limits.obstacle("a") is None
    line = bench.page()
    assert (line.uuid, line.memory_limit, line.memory_ceiling) == (GPU, 16 * GIB, 40 * GIB)
    assert (line.compute_percent, line.ceiling_percent, line.revision) == (25, 100, 1)
    directory = bench.home.slice_directory("a")
    preload = (directory / "ld.so.preload").read_text().strip()
    assert (directory / "required").exists()
    assert (directory / pathlib.Path(preload).name).read_bytes()[:4] == b"\x7fELF"
    assert bench.report()["state"] == "Applied"


def test_a_growth_is_in_force_and_confirmed_at_once(bench: Bench) -> None:
    bench.apply(entry())

    bench.apply(entry(24, 60, revision=2))

    assert bench.page().memory_limit == 24 * GIB
    assert (bench.report()["memory"], bench.report()["revision"]) == ("24Gi", 2)


def test_a_shrink_is_in_force_at_once_and_confirmed_a_moment_later(bench: Bench) -> None:
    bench.apply(entry(24, revision=1))

    bench.apply(entry(16, revision=2))

    assert bench.page().memory_limit == 16 * GIB
    assert (bench.report()["memory"], bench.report()["revision"]) == ("24Gi", 1)
    bench.later(held.SETTLE_SECONDS)
    assert (bench.report()["memory"], bench.report()["revision"]) == ("16Gi", 2)


def test_a_slice_with_a_device_that_is_gone_is_refused_and_its_page_stays(bench: Bench) -> None:
    bench.apply(entry())

    bench.limits.know({OTHER: DEVICES[OTHER]})

    assert bench.report()["state"] == "Refused"
    assert "is not among this node's devices" in bench.report()["message"]
    assert bench.page().memory_limit == 16 * GIB
    bench.limits.know(DEVICES)
    assert bench.report()["state"] == "Applied"


def test_a_slice_that_was_never_in_force_lets_no_pod_start(bench: Bench) -> None:
    bench.apply(entry(96))

    assert "which has 80 GiB" in str(bench.limits.obstacle("a"))
    assert bench.report() == {
        "memory": "0",
        "computePercent": 0,
        "revision": 0,
        "state": "Refused",
        "message": bench.limits.obstacle("a"),
        "pressure": [],
    }


def test_slices_of_a_pool_that_overcommits_a_device_are_applied_with_a_warning(bench: Bench) -> None:
    bench.limits.know({GPU: enforcement.Facts(memory_bytes=80 * GIB, promised_bytes=120 * GIB)})
    bench.apply(entry(40, id_="a"), dataclasses.replace(entry(40, id_="b")), entry(30, id_="c"))
    bench.later(1)

    assert {bench.report(each)["state"] for each in "abc"} == {"Applied"}
    assert "110 GiB are allocated" in bench.report()["message"]


def test_of_slices_over_a_devices_memory_the_newest_is_refused_until_there_is_room(bench: Bench) -> None:
    bench.apply(entry(50, id_="a", revision=1), entry(40, id_="b", revision=2))

    assert (bench.report("a")["state"], bench.report("b")["state"]) == ("Applied", "Refused")
    assert "beside 50 GiB of other slices, and 80 GiB of it may be promised" in bench.report("b")["message"]
    assert bench.limits.obstacle("b") == bench.report("b")["message"]
    assert not bench.home.slice_directory("b").exists()

    bench.apply(entry(40, id_="b", revision=2))
    assert (bench.report("b")["state"], bench.limits.obstacle("b")) == ("Applied", None)


def test_a_growth_over_a_devices_memory_is_refused_and_the_running_pod_keeps_what_it_has(
    bench: Bench,
) -> None:
    bench.apply(entry(30, id_="a", revision=1), entry(40, id_="b", revision=2))

    bench.apply(entry(60, id_="a", revision=3), entry(40, id_="b", revision=2))

    assert (bench.report("a")["state"], bench.report("b")["state"]) == ("Refused", "Applied")
    assert (bench.report("a")["memory"], bench.page("a").memory_limit) == ("30Gi", 30 * GIB)
    assert bench.limits.obstacle("b") is None


def test_what_is_in_force_outlives_an_agent_and_a_pool_that_promises_less(bench: Bench) -> None:
    bench.apply(entry(40, id_="a"), entry(40, id_="b"))
    bench.limits.close()

    bench.limits = bench.start()
    bench.limits.know({GPU: enforcement.Facts(memory_bytes=80 * GIB, promised_bytes=60 * GIB)})
    bench.apply(entry(40, id_="a"), entry(40, id_="b"), entry(1, id_="c"))

    assert [bench.report(each)["state"] for each in "abc"] == ["Applied", "Applied", "Refused"]


def test_a_slice_that_left_the_ledger_goes_with_its_last_pod(bench: Bench) -> None:
    bench.apply(entry())
    bench.show("a")

    bench.apply()
    assert bench.home.slices() == ["a"]
    assert bench.limits.reports() == {}

    bench.home.forget("v")
    bench.limits.released("a")
    assert bench.home.slices() == []


def test_a_restarted_agent_leaves_running_limits_alone(bench: Bench) -> None:
    bench.apply(entry())
    before = os.stat(bench.home.slice_directory("a") / "limits")
    generation = _generation(bench)
    bench.limits.close()

    bench.limits = bench.start()
    bench.apply(entry())

    after = os.stat(bench.home.slice_directory("a") / "limits")
    assert (before.st_ino, _generation(bench)) == (after.st_ino, generation)
    assert bench.report()["state"] == "Applied"


def test_a_restarted_agent_removes_what_nobody_holds(bench: Bench) -> None:
    bench.apply(entry(id_="a"), entry(id_="b"))
    bench.show("b")
    bench.limits.close()

    bench.limits = bench.start()
    bench.limits.sweep()

    assert bench.home.slices() == ["b"]


def test_a_volume_that_went_while_the_agent_was_down_is_forgotten(bench: Bench) -> None:
    bench.apply(entry())
    bench.show("a")
    bench.limits.close()
    (bench.home.root.parent / "pod").unlink()

    bench.limits = bench.start()
    bench.limits.sweep()

    assert bench.home.slices() == []


def test_a_damaged_page_is_reported_and_not_replaced(bench: Bench) -> None:
    bench.apply(entry())
    bench.limits.close()
    page = bench.home.slice_directory("a") / "limits"
    page.write_bytes(b"x" * page.stat().st_size)

    bench.limits = bench.start()
    bench.apply(entry())

    assert bench.report()["state"] == "Refused"
    assert "its limits cannot be written" in bench.report()["message"]
    assert page.read_bytes()[:1] == b"x"


def test_accounts_that_were_cut_short_free_nothing_and_are_told(bench: Bench) -> None:
    bench.apply(entry(24, revision=1))
    accounts = bench.home.slice_directory("a") / "usage" / "accounts"
    os.truncate(accounts, 0)

    bench.apply(entry(16, revision=2))
    bench.later(1)

    assert bench.report()["message"].startswith("its accounts are missing or cut short")
    assert bench.page().memory_limit == 16 * GIB


def test_accounts_that_were_replaced_are_told_and_read_from_then_on(bench: Bench) -> None:
    bench.apply(entry())
    accounts = bench.home.slice_directory("a") / "usage" / "accounts"
    shutil.copyfile(accounts, accounts.with_name("copy"))
    accounts.with_name("copy").rename(accounts)

    bench.later(1)
    said = bench.report()["message"]
    bench.later(1)

    assert said.startswith("its accounts were replaced")
    assert bench.report()["message"] == ""


def test_accounts_that_were_overwritten_are_told_and_free_nothing(bench: Bench) -> None:
    bench.apply(entry(24, revision=1))
    accounts = bench.home.slice_directory("a") / "usage" / "accounts"
    with accounts.open("r+b") as file:
        file.write(bytes(64))

    bench.apply(dataclasses.replace(entry(16, revision=2), held_memory_bytes=24 * GIB))
    bench.later(1)

    assert (bench.report()["memory"], bench.report()["state"]) == ("24Gi", "Shrinking")
    assert bench.report()["message"].startswith("its accounts were overwritten")
    assert bench.page().memory_limit == 16 * GIB


def test_a_newer_library_lies_beside_the_older_one(bench: Bench, tmp_path: pathlib.Path) -> None:
    bench.apply(entry())
    directory = bench.home.slice_directory("a")
    [old] = directory.glob("libvgpu-*.so")
    newer = tmp_path / "libvgpu.so"
    newer.write_bytes(old.read_bytes() + b"newer")
    upgraded = Home(bench.home.root, mounts.LinkMounts(), newer)
    upgraded.prepare()

    upgraded.offer_library("a")

    [added] = set(directory.glob("libvgpu-*.so")) - {old}
    assert old.exists()
    assert (directory / "ld.so.preload").read_text() == f"/run/vgpu/{added.name}\n"


def _generation(bench: Bench) -> int:
    with LimitsPage(bench.home.slice_directory("a") / "limits") as page:
        return page.generation


def test_a_device_that_cannot_resize_live_keeps_what_its_running_pods_have_and_says_so(bench: Bench) -> None:
    still = values.Isolation(resize=values.ResizeMode.RESTART)
    bench.limits.know({GPU: enforcement.Facts(memory_bytes=80 * GIB, isolation=still)})
    bench.apply(entry(16))
    bench.show("a")

    bench.apply(entry(24, revision=2))

    assert bench.page().memory_limit == 16 * GIB
    assert (bench.report()["state"], bench.report()["memory"]) == ("Refused", "16Gi")
    assert "isolation.resize: Restart" in bench.report()["message"]

    bench.apply(entry(16, revision=3))
    assert (bench.report()["state"], bench.report()["revision"]) == ("Applied", 3)


def test_a_device_that_cannot_resize_live_takes_other_limits_while_no_pod_runs(bench: Bench) -> None:
    still = values.Isolation(resize=values.ResizeMode.RESTART)
    bench.limits.know({GPU: enforcement.Facts(memory_bytes=80 * GIB, isolation=still)})
    bench.apply(entry(16))

    bench.apply(entry(24, revision=2))

    assert bench.page().memory_limit == 24 * GIB
    assert bench.report()["state"] == "Applied"


def test_the_cost_of_a_context_reaches_the_page_once_it_is_known(bench: Bench) -> None:
    bench.apply(entry())
    assert bench.page().context_bytes == 0

    bench.limits.know({GPU: enforcement.Facts(memory_bytes=80 * GIB, context_bytes=GIB)})

    assert bench.page().context_bytes == GIB
