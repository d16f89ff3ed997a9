"""NVML inside a slice, through the vendor's own Python binding: the slice's memory, its own processes."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from vgpu_shim.limits import UNLIMITED

if TYPE_CHECKING:
    from tests.shim.conftest import Slice

MIB, GIB = 1 << 20, 1 << 30

NewSlice = Callable[..., "Slice"]


@pytest.mark.parametrize("held", [0, 1, 123_456_789, 2 * GIB])
def test_memory_agrees_with_the_driver_to_the_byte(new_slice: NewSlice, held: int) -> None:
    with new_slice(memory=2 * GIB).tenant() as tenant:
        if held:
            assert tenant.call("allocate", held)[0] == 0

        seen = tenant.call("nvml", 0)

        assert tenant.call("memory") == [0, 2 * GIB - held, 2 * GIB]
        assert tenant.call("total_memory", 0) == [0, 2 * GIB]
    assert seen["memory"] == [2 * GIB, held, 2 * GIB - held]
    assert seen["memory_v2"] == [2 * GIB, held, 2 * GIB - held, 0]


def test_a_limit_below_use_shows_nothing_free(new_slice: NewSlice) -> None:
    slice_ = new_slice(memory=2 * GIB)
    with slice_.tenant() as tenant:
        tenant.call("allocate", GIB)

        slice_.set(memory_limit=100 * MIB)

        assert tenant.call("nvml", 0)["memory"] == [100 * MIB, 100 * MIB, 0]
        assert tenant.call("memory") == [0, 0, 100 * MIB]


def test_a_limit_above_the_device_shows_the_device(new_slice: NewSlice, machine: dict[str, str]) -> None:
    with new_slice(memory=1 << 40).tenant() as tenant:
        total = tenant.call("nvml", 0)["memory"][0]

        assert tenant.call("total_memory", 0) == [0, total]
        assert tenant.call("memory") == [0, total, total]
    assert total == 80 * GIB


def test_without_a_memory_limit_the_drivers_own_answer_stands(new_slice: NewSlice) -> None:
    with new_slice(memory=UNLIMITED).tenant() as tenant:
        total, used, free = tenant.call("nvml", 0)["memory"]

        assert tenant.call("memory") == [0, free, total]
    assert total == 80 * GIB
    assert used >= 400 * MIB  # the driver counts the context


def test_only_the_slices_own_processes_are_listed(new_slice: NewSlice) -> None:
    mine, other = new_slice(memory=GIB), new_slice(memory=GIB)
    with mine.tenant() as first, mine.tenant() as second, other.tenant() as stranger:
        for size, tenant in enumerate((first, second, stranger), start=1):
            assert tenant.call("allocate", size * MIB)[0] == 0

        seen = first.call("nvml", 0)

    assert seen["processes"] == {str(first.pid): MIB, str(second.pid): 2 * MIB}
    assert seen["graphics"] == []
    assert seen["memory"][1] == 3 * MIB


def test_a_killed_process_is_no_longer_listed(new_slice: NewSlice) -> None:
    slice_ = new_slice(memory=GIB)
    with slice_.tenant() as survivor, slice_.tenant() as victim:
        for tenant in (survivor, victim):
            tenant.call("allocate", 600 * MIB if tenant is victim else MIB)
        victim.kill()

        answers = (survivor.call("allocate", 600 * MIB)[0] for _ in range(10_000))

        assert 0 in answers  # refused until the dead one's memory is back
        assert survivor.call("nvml", 0)["processes"] == {str(survivor.pid): 601 * MIB}


def test_a_device_that_is_not_the_slices_keeps_its_own_answer(new_slice: NewSlice) -> None:
    with new_slice(memory=GIB).tenant() as tenant:
        assert tenant.call("nvml", 1)["memory"][0] == 80 * GIB
