"""Memory that is more than a limit: waiting for growth, overflow to the host, what contexts cost."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from vgpu_shim.limits import OVERSUBSCRIBE, LimitsPage
from vgpu_shim.usage import UsagePage

if TYPE_CHECKING:
    from tests.shim.conftest import Slice, Tenant

MIB, GIB = 1 << 20, 1 << 30
OUT_OF_MEMORY = 2
MINUTE_MS = 60_000

NewSlice = Callable[..., "Slice"]


def wait_until_wanted(usage: UsagePage, size: int) -> None:
    """Returns when a process says that it waits for so many bytes."""
    assert any(size == process.wanted for _ in range(1_000_000) for process in usage.read(0).processes)


def test_an_allocation_waits_for_a_growth_and_says_what_it_wants(new_slice: NewSlice) -> None:
    slice_ = new_slice(memory=GIB)
    slice_.set(memory_ceiling=4 * GIB, memory_wait_ms=MINUTE_MS)
    with slice_.tenant() as tenant, UsagePage(slice_.usage_path) as usage:
        tenant.call("allocate", MIB)

        tenant.send("allocate", 2 * GIB)
        wait_until_wanted(usage, 2 * GIB)
        assert usage.used(0) == MIB
        slice_.set(memory_limit=3 * GIB)

        assert tenant.receive()[0] == 0
        found = usage.read(0)
    assert found.used == 2 * GIB + MIB
    assert [process.wanted for process in found.processes] == [0]
    assert found.counters.waited_ns > 0
    assert found.counters.refused == 0


def test_an_allocation_that_no_growth_could_fit_is_refused_at_once(new_slice: NewSlice) -> None:
    slice_ = new_slice(memory=GIB)
    slice_.set(memory_ceiling=2 * GIB, memory_wait_ms=MINUTE_MS)
    with slice_.tenant() as tenant, UsagePage(slice_.usage_path) as usage:
        assert tenant.call("allocate", 2 * GIB + 1)[0] == OUT_OF_MEMORY

        assert usage.read(0).counters.waited_ns == 0


def test_an_allocation_whose_growth_does_not_come_is_refused_when_its_time_is_up(new_slice: NewSlice) -> None:
    slice_ = new_slice(memory=GIB)
    slice_.set(memory_ceiling=4 * GIB, memory_wait_ms=30)
    with slice_.tenant() as tenant, UsagePage(slice_.usage_path) as usage:
        assert tenant.call("allocate", 2 * GIB)[0] == OUT_OF_MEMORY

        counters = usage.read(0).counters
    assert counters.waited_ns >= 30_000_000
    assert (counters.refused, counters.refused_bytes) == (1, 2 * GIB)


def test_a_killed_process_no_longer_wants_anything(new_slice: NewSlice) -> None:
    slice_ = new_slice(memory=GIB)
    slice_.set(memory_ceiling=4 * GIB, memory_wait_ms=MINUTE_MS)
    with slice_.tenant() as tenant, UsagePage(slice_.usage_path) as usage:
        tenant.send("allocate", 2 * GIB)
        wait_until_wanted(usage, 2 * GIB)
        tenant.kill()

        assert usage.reap() == 1
        assert (usage.used(0), usage.read(0).processes) == (0, ())


def fill_and_overflow(tenant: "Tenant") -> list[int]:
    """Codes of 1 GiB, of 512 MiB, and of 1 GiB more."""
    return [int(tenant.call("allocate", size)[0]) for size in (GIB, 512 * MIB, GIB)]


def test_overflow_goes_to_the_host_up_to_its_own_limit_where_it_may(new_slice: NewSlice) -> None:
    slice_ = new_slice(memory=GIB)
    slice_.set(flags=OVERSUBSCRIBE, spill_limit=GIB)
    with slice_.tenant() as tenant, UsagePage(slice_.usage_path) as usage:
        codes = fill_and_overflow(tenant)

        found = usage.read(0)
    assert codes == [0, 0, OUT_OF_MEMORY]
    assert (found.used, found.spilled) == (GIB, 512 * MIB)
    assert [process.spilled for process in found.processes] == [512 * MIB]


def test_nothing_goes_to_the_host_unless_it_may(new_slice: NewSlice) -> None:
    slice_ = new_slice(memory=GIB)
    slice_.set(spill_limit=GIB)
    with slice_.tenant() as tenant, UsagePage(slice_.usage_path) as usage:
        assert fill_and_overflow(tenant) == [0, OUT_OF_MEMORY, OUT_OF_MEMORY]

        assert usage.read(0).spilled == 0


def test_what_the_dead_had_on_the_host_is_taken_back(new_slice: NewSlice) -> None:
    slice_ = new_slice(memory=GIB)
    slice_.set(flags=OVERSUBSCRIBE, spill_limit=GIB)
    with slice_.tenant() as tenant, UsagePage(slice_.usage_path) as usage:
        fill_and_overflow(tenant)
        tenant.kill()

        usage.reap()

        assert (usage.used(0), usage.read(0).spilled) == (0, 0)


def test_a_context_is_charged_what_the_page_says_it_costs(new_slice: NewSlice) -> None:
    slice_ = new_slice(memory=GIB)
    slice_.set(context_bytes=300 * MIB)
    with slice_.tenant() as tenant, UsagePage(slice_.usage_path) as usage:
        assert tenant.call("allocate", GIB)[0] == OUT_OF_MEMORY

        (process,) = usage.read(0).processes
    assert process.memory == process.memory_by_kind["context"] == 300 * MIB


def test_revision_and_target_are_the_agents_and_change_nothing_by_themselves(new_slice: NewSlice) -> None:
    slice_ = new_slice(memory=GIB)
    slice_.set(revision=7, memory_target=1)
    with slice_.tenant() as tenant, LimitsPage(slice_.limits_path) as page:
        assert tenant.call("allocate", GIB)[0] == 0

        assert (page.read(0).revision, page.read(0).memory_target) == (7, 1)
