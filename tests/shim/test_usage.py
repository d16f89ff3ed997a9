"""The usage page, kept by real processes under the shim: exact to the byte, whoever is killed."""

import dataclasses
import pathlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import hypothesis
import pytest
from hypothesis import strategies as st

from vgpu_shim.limits import LimitsPage
from vgpu_shim.usage import KINDS, BusyShare, UsagePage, clock_ns

if TYPE_CHECKING:
    from tests.shim.conftest import Slice, Tenant

MIB, GIB = 1 << 20, 1 << 30
OUT_OF_MEMORY, NOT_PERMITTED = 2, 800

NewSlice = Callable[..., "Slice"]


@pytest.fixture
def slice_(new_slice: NewSlice) -> "Slice":
    return new_slice(memory=GIB)


@pytest.fixture
def usage(slice_: "Slice") -> Iterator[UsagePage]:
    with UsagePage(slice_.usage_path) as page:
        yield page


def test_a_process_is_listed_with_what_it_holds(slice_: "Slice", usage: UsagePage) -> None:
    with slice_.tenant() as tenant:
        tenant.call("allocate", 3 * MIB)
        tenant.call("allocate_managed", 5 * MIB)

        (process,) = usage.read(0).processes
        stat = pathlib.Path(f"/proc/{tenant.pid}/stat").read_text()

    assert (process.pid, process.memory) == (tenant.pid, 8 * MIB)
    assert process.memory_by_kind == dict.fromkeys(KINDS, 0) | {"linear": 3 * MIB, "managed": 5 * MIB}
    assert process.name.startswith("python")
    assert process.start_time == int(stat.rpartition(")")[2].split()[19])
    assert process.pid_namespace == pathlib.Path("/proc/self/ns/pid").stat().st_ino


def test_the_limit_is_reached_to_the_byte_and_not_passed(slice_: "Slice", usage: UsagePage) -> None:
    with slice_.tenant() as tenant:
        assert tenant.call("allocate", GIB - 1)[0] == 0
        assert tenant.call("allocate", 2)[0] == OUT_OF_MEMORY
        assert tenant.call("allocate", 1)[0] == 0

        found = usage.read(0)

    assert (found.used, found.peak) == (GIB, GIB)
    assert (found.counters.refused, found.counters.refused_bytes) == (1, 2)


def test_what_is_freed_may_be_taken_again(slice_: "Slice", usage: UsagePage) -> None:
    with slice_.tenant() as tenant:
        _, address = tenant.call("allocate", GIB)
        assert tenant.call("free", address) == 0
        assert tenant.call("allocate", GIB)[0] == 0

        assert usage.used(0) == GIB


def test_what_a_killed_process_held_is_taken_back(slice_: "Slice", usage: UsagePage) -> None:
    with slice_.tenant() as survivor, slice_.tenant() as victim:
        survivor.call("allocate", 100 * MIB)
        victim.call("allocate", 500 * MIB)
        victim.kill()

        assert usage.reap() == 1
        assert usage.reconcile(0) == 0
        assert usage.used(0) == 100 * MIB
        assert [process.pid for process in usage.read(0).processes] == [survivor.pid]


def test_the_living_are_not_reaped(slice_: "Slice", usage: UsagePage) -> None:
    with slice_.tenant() as tenant:
        tenant.call("allocate", MIB)

        assert usage.reap() == 0
        assert usage.used(0) == MIB


def test_a_refused_allocation_finds_the_dead_by_itself(slice_: "Slice", usage: UsagePage) -> None:
    with slice_.tenant() as survivor, slice_.tenant() as victim:
        survivor.call("allocate", MIB)
        victim.call("allocate", 800 * MIB)
        victim.kill()

        assert survivor.call("allocate", 800 * MIB)[0] == 0
        assert usage.used(0) == 801 * MIB


def test_what_a_crash_counted_twice_is_found_and_taken_away(slice_: "Slice", usage: UsagePage) -> None:
    with slice_.tenant() as tenant:
        tenant.call("allocate", 10 * MIB)
        usage._page.devices[0].used += 7 * MIB  # as a death between two counters leaves it

        assert usage.reconcile(0) == 7 * MIB
        assert usage.used(0) == 10 * MIB
        assert usage.reconcile(0) == 0


@pytest.mark.parametrize("limit", [0, 10 * MIB, 30 * MIB])
def test_a_limit_below_use_refuses_and_takes_nothing(slice_: "Slice", usage: UsagePage, limit: int) -> None:
    with slice_.tenant() as tenant:
        _, address = tenant.call("allocate", 40 * MIB)

        slice_.set(memory_limit=limit)

        assert tenant.call("memory") == [0, 0, limit]
        assert tenant.call("allocate", 1)[0] == OUT_OF_MEMORY
        assert usage.used(0) == 40 * MIB
        assert tenant.call("free", address) == 0
        assert tenant.call("memory") == [0, limit, limit]


def test_growth_is_in_force_at_the_next_allocation(slice_: "Slice") -> None:
    with slice_.tenant() as tenant:
        assert tenant.call("allocate", 2 * GIB)[0] == OUT_OF_MEMORY

        slice_.set(memory_limit=3 * GIB)

        assert tenant.call("allocate", 2 * GIB)[0] == 0


def test_launches_and_their_time_are_counted(new_slice: NewSlice) -> None:
    slice_ = new_slice(compute=10)
    with slice_.tenant() as tenant, UsagePage(slice_.usage_path) as usage:
        started = clock_ns()
        assert tenant.call("launch", 320) == [0, 0]
        elapsed = clock_ns() - started

        counters = usage.read(0).counters

    assert counters.launches == 320
    assert 0.9 * 320 * 100_000 < counters.gpu_ns < elapsed  # 100 us each, and pauses inside a batch
    assert 0 < counters.throttled_ns < elapsed


def test_devices_have_accounts_of_their_own(new_slice: NewSlice) -> None:
    slice_ = new_slice(memory=GIB, devices=2)
    with slice_.tenant(device=1) as tenant, UsagePage(slice_.usage_path) as usage:
        tenant.call("allocate", MIB)

        assert (usage.used(0), usage.used(1)) == (0, MIB)


def test_slices_have_accounts_of_their_own(new_slice: NewSlice) -> None:
    one, other = new_slice(memory=GIB), new_slice(memory=GIB)
    with one.tenant() as first, other.tenant() as second:
        assert first.call("allocate", GIB)[0] == 0
        assert second.call("allocate", GIB)[0] == 0


def test_where_limits_must_be_and_are_not_nothing_is_allocated(slice_: "Slice") -> None:
    (slice_.directory / "required").touch()
    slice_.limits_path.unlink()

    with slice_.tenant() as tenant:
        assert tenant.call("allocate", MIB)[0] == NOT_PERMITTED
        assert tenant.call("launch", 1)[0] == NOT_PERMITTED


def test_whoever_takes_the_accounts_away_gets_nothing_more(slice_: "Slice") -> None:
    (slice_.directory / "required").touch()
    with slice_.tenant() as old:
        slice_.usage_path.unlink()

        with slice_.tenant() as new:
            assert new.call("allocate", MIB)[0] == NOT_PERMITTED
        assert old.call("allocate", GIB)[0] == 0

    assert not slice_.usage_path.exists()


def test_a_sound_usage_page_is_left_as_it_is(slice_: "Slice", usage: UsagePage) -> None:
    with slice_.tenant() as tenant:
        tenant.call("allocate", MIB)

        with UsagePage.create(slice_.usage_path, device_count=1) as again:
            assert again.used(0) == usage.used(0) == MIB


@pytest.mark.parametrize(
    ("covered", "owned", "permille"), [(0, 0, 1000), (3, 1, 333), (10, 0, 1), (5, 5, 1000)]
)
def test_a_busy_share_is_a_permille_of_at_least_one(covered: int, owned: int, permille: int) -> None:
    assert BusyShare(covered_ns=covered, owned_ns=owned).permille == permille


# ---- any interleaving ------------------------------------------------------------

SIZES = st.one_of(st.integers(1, 64 * MIB), st.integers(1, 1000).map(lambda n: n * 2 * MIB))
STEPS = st.lists(
    st.tuples(st.integers(0, 1), st.one_of(SIZES.map(lambda n: ("allocate", n)), st.just(("free", 0)))),
    min_size=5,
    max_size=30,
)


@pytest.mark.parametrize("buried", [True, False], ids=["buried", "zombie"])
def test_what_a_process_held_is_free_for_others_the_moment_it_is_dead(slice_: "Slice", buried: bool) -> None:
    with slice_.tenant() as waiting, slice_.tenant() as dying:
        assert dying.call("allocate", GIB)[0] == 0
        assert waiting.call("allocate", MIB)[0] == OUT_OF_MEMORY  # so the dead were looked for just now

        dying.kill() if buried else dying.die()

        assert waiting.call("allocate", MIB)[0] == 0


@dataclasses.dataclass(slots=True)
class Holder:
    """A process, and what a ledger kept beside it says it holds."""

    tenant: "Tenant"
    held: dict[int, int] = dataclasses.field(default_factory=dict)

    @property
    def total(self) -> int:
        return sum(self.held.values())

    def allocate(self, size: int, *, room: int) -> None:
        code, address = self.tenant.call("allocate", size)
        assert code == (0 if size <= room else OUT_OF_MEMORY)
        if code == 0:
            self.held[address] = size

    def free(self, size: int) -> None:
        if self.held:
            address, _ = self.held.popitem()
            assert self.tenant.call("free", address) == size


def play(
    holders: list[Holder], steps: list[tuple[int, tuple[str, int]]], *, limit: int, usage: UsagePage
) -> None:
    for who, (what, size) in steps:
        held = sum(holder.total for holder in holders)
        if what == "allocate":
            holders[who].allocate(size, room=limit - held)
        else:
            holders[who].free(0)
        assert usage.used(0) == sum(holder.total for holder in holders)


@hypothesis.settings(
    derandomize=True,
    deadline=None,
    max_examples=8,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)
@hypothesis.given(steps=STEPS, limit=st.integers(1, 400).map(lambda n: n * 2 * MIB), victim=st.integers(0, 1))
def test_use_is_the_sum_of_what_processes_hold_in_any_order(
    slice_: "Slice", usage: UsagePage, steps: list[tuple[int, tuple[str, int]]], limit: int, victim: int
) -> None:
    slice_.set(memory_limit=limit)
    with slice_.tenant() as one, slice_.tenant() as other:
        holders = [Holder(one), Holder(other)]

        play(holders, steps, limit=limit, usage=usage)
        listed = {process.pid: process.memory for process in usage.read(0).processes}
        holders[victim].tenant.kill()
        usage.reap()

        assert (
            listed.items() >= {holder.tenant.pid: holder.total for holder in holders if holder.held}.items()
        )
        assert usage.used(0) == holders[1 - victim].total
    usage.reap()
    assert usage.used(0) == 0
    assert usage.reconcile(0) == 0
    with LimitsPage(slice_.limits_path) as limits:
        assert limits.read(0).memory_limit == limit
