"""The limits page through the binding: what is written is read, and what is wrong is refused."""

import dataclasses
import pathlib
import threading
import uuid
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from vgpu_shim.limits import MIG, UNLIMITED, DeviceLimits, LimitsPage, parse_uuid

GIB = 1 << 30
WORD, LONG = 2**32 - 1, 2**64 - 1
RANGES = {
    "memory_limit": (0, LONG),
    "memory_target": (0, LONG),
    "memory_ceiling": (0, LONG),
    "spill_limit": (0, LONG),
    "context_bytes": (0, LONG),
    "revision": (0, LONG),
    "compute_percent": (1, 100),
    "lent_percent": (0, 100),
    "ceiling_percent": (0, 100),
    "weight": (0, WORD),
    "priority": (-(2**31), 2**31 - 1),
    "burst_ms": (0, WORD),
    "memory_wait_ms": (0, WORD),
    "busy_permille": (0, WORD),
}
"""What the page's fields hold; flags have a bit per meaning."""

STEADY = hypothesis.settings(derandomize=True, deadline=None, max_examples=50)
PERCENTS = ("compute_percent", "lent_percent", "ceiling_percent")
SIZES = ("memory_limit", "memory_target", "memory_ceiling", "spill_limit", "context_bytes")


def numbers() -> st.SearchStrategy[dict[str, int]]:
    return st.fixed_dictionaries({name: st.integers(low, high) for name, (low, high) in RANGES.items()})


@st.composite
def lines(draw: st.DrawFn) -> DeviceLimits:
    mig = draw(st.booleans())
    name = f"{'MIG' if mig else 'GPU'}-{draw(st.uuids())}"
    flags = draw(st.integers(0, 15)) & ~MIG | (MIG if mig else 0)
    return line(uuid=name, flags=flags, **draw(numbers()))


def line(**changes: Any) -> DeviceLimits:
    usual: dict[str, Any] = {
        "uuid": f"GPU-{uuid.UUID(int=7)}",
        "memory_limit": 8 * GIB,
        "compute_percent": 50,
    }
    return DeviceLimits(**(usual | changes))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> LimitsPage:
    path = tmp_path_factory.mktemp("page") / "limits"
    return LimitsPage.create(path, [line(), line(memory_limit=GIB)], slice_id="team-a/llm")


@STEADY
@hypothesis.given(first=lines(), second=lines())
def test_what_is_written_is_read(page: LimitsPage, first: DeviceLimits, second: DeviceLimits) -> None:
    page.write(0, first)
    page.write(1, second)

    with LimitsPage(page.path) as reader:
        assert reader.read_all() == [first, second]


@STEADY
@hypothesis.given(
    limits=lines(), changed=st.sets(st.sampled_from(sorted(RANGES)), max_size=4), values=numbers()
)
def test_an_update_changes_what_it_names_and_nothing_else(
    page: LimitsPage, limits: DeviceLimits, changed: set[str], values: dict[str, int]
) -> None:
    page.write(0, limits)

    changes = {name: values[name] for name in changed}
    written = page.update(0, **changes)

    assert written == dataclasses.replace(limits, **changes)  # type: ignore[arg-type]  # all are integers
    assert page.read(0) == written


@STEADY
@hypothesis.given(field=st.sampled_from(PERCENTS), value=st.integers().filter(lambda n: not 0 <= n <= 100))
def test_a_share_beyond_one_device_is_refused(field: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"{field} is {value}: expected 0 to 100 per cent"):
        line(**{field: value})


@STEADY
@hypothesis.given(field=st.sampled_from(SIZES), value=st.integers(max_value=-1))
def test_memory_below_zero_is_refused(field: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"{field} is {value}: expected bytes"):
        line(**{field: value})


def test_no_compute_at_all_is_refused_with_the_way_to_stop_a_slice() -> None:
    with pytest.raises(ValueError, match="FROZEN"):
        line(compute_percent=0)


@STEADY
@hypothesis.given(text=st.text())
def test_any_text_is_a_uuid_or_a_value_error(text: str) -> None:
    try:
        found = parse_uuid(text)
    except ValueError:
        return
    assert found == uuid.UUID(text.partition("-")[2]).bytes


@pytest.mark.parametrize("text", ["", "GPU", "GPU-", "GPU-12", "gpu-" + "0" * 32, "NIC-" + "0" * 32])
def test_a_text_that_is_no_device_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="device UUID is"):
        parse_uuid(text)


@pytest.mark.parametrize("field", [name for name in RANGES if name not in PERCENTS])
def test_a_number_that_the_page_cannot_hold_is_a_value_error(page: LimitsPage, field: str) -> None:
    with pytest.raises(ValueError, match=field):
        page.write(0, line(**{field: RANGES[field][1] + 1}))


def test_a_page_knows_its_name_and_its_devices(page: LimitsPage) -> None:
    assert page.slice_id == "team-a/llm"
    assert page.device_count == 2
    assert len(list(page)) == 2


@pytest.mark.parametrize("index", [-1, 2, 2**32])
def test_a_device_beyond_the_page_is_an_index_error(page: LimitsPage, index: int) -> None:
    with pytest.raises(IndexError, match="the page has 2"):
        page.read(index)
    with pytest.raises(IndexError, match="the page has 2"):
        page.write(index, line())


def test_a_sound_page_is_left_as_it_is(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "limits"
    LimitsPage.create(path, [line()], slice_id="first").close()

    with LimitsPage.create(path, [line(memory_limit=UNLIMITED)], slice_id="second") as page:
        assert (page.slice_id, page.read(0).memory_limit) == ("first", 8 * GIB)

    assert [entry.name for entry in tmp_path.iterdir()] == ["limits"]


def test_a_broken_page_is_made_anew(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "limits"
    path.write_bytes(b"not a page")

    with LimitsPage.create(path, [line()], slice_id="fresh") as page:
        assert page.read(0) == line()


def test_every_write_counts_the_generation_and_wakes_who_waits(page: LimitsPage) -> None:
    seen = page.generation
    writer = threading.Thread(target=page.write, args=(0, line()))

    writer.start()
    woken = page.wait(seen, timeout_seconds=30)
    writer.join()

    assert woken
    assert page.generation == seen + 1


def test_waiting_ends_when_the_time_is_up(page: LimitsPage) -> None:
    assert not page.wait(page.generation, timeout_seconds=0)


def test_a_closed_page_may_be_closed_again(tmp_path: pathlib.Path) -> None:
    page = LimitsPage.create(tmp_path / "limits", [line()], slice_id="")

    page.close()
    page.close()
