"""Whatever a page's file holds, the binding answers with a value or with its own error."""

import dataclasses
import os
import pathlib
from collections.abc import Callable

import hypothesis
import pytest
from hypothesis import strategies as st

from vgpu_shim.library import PageError
from vgpu_shim.limits import DeviceLimits, LimitsPage
from vgpu_shim.usage import UsagePage, busy_shares, clock_ns

STEADY = hypothesis.settings(derandomize=True, deadline=None, max_examples=50)
LINE = DeviceLimits(uuid="GPU-00000000-0000-4000-8000-000000000000", memory_limit=1 << 30, compute_percent=50)
HEADER = LINE_SIZE = 128

Open = Callable[[pathlib.Path], object]


def open_limits(path: pathlib.Path) -> list[DeviceLimits]:
    with LimitsPage(path) as page:
        return page.read_all()


def open_usage(path: pathlib.Path) -> object:
    with UsagePage(path) as page:
        return page.read(0)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Sound:
    """A page as it was made: how it starts, and how long it is; the rest is zero."""

    start: bytes
    size: int

    def write(
        self, path: pathlib.Path, *, start: bytes | bytearray | None = None, size: int | None = None
    ) -> None:
        path.write_bytes(self.start if start is None else start)
        os.truncate(path, self.size if size is None else size)


def sound_page(path: pathlib.Path) -> Sound:
    with path.open("rb") as file:
        return Sound(start=file.read(4096), size=path.stat().st_size)


OPENERS = pytest.mark.parametrize("open_page", [open_limits, open_usage])


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> dict[Open, Sound]:
    """Pages by what opens them."""
    folder = tmp_path_factory.mktemp("sound")
    LimitsPage.create(folder / "limits", [LINE, LINE], slice_id="sound").close()
    UsagePage.create(folder / "accounts", device_count=2).close()
    return {
        open_limits: sound_page(folder / "limits"),
        open_usage: sound_page(folder / "accounts"),
    }


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return tmp_path_factory.mktemp("broken") / "page"


@OPENERS
@STEADY
@hypothesis.given(content=st.binary(max_size=4096))
def test_random_bytes_are_no_page(open_page: Open, path: pathlib.Path, content: bytes) -> None:
    path.write_bytes(content)

    with pytest.raises(PageError, match="not a page of this version"):
        open_page(path)


@OPENERS
@STEADY
@hypothesis.given(data=st.data())
def test_a_page_cut_anywhere_is_no_page(
    open_page: Open, path: pathlib.Path, sound: dict[Open, Sound], data: st.DataObject
) -> None:
    whole = sound[open_page]
    whole.write(path, size=data.draw(st.integers(0, whole.size - 1)))

    with pytest.raises(PageError, match="not a page of this version"):
        open_page(path)


@OPENERS
@pytest.mark.parametrize("word", ["magic", "version"])
def test_a_page_of_another_kind_or_version_is_no_page(
    open_page: Open, path: pathlib.Path, sound: dict[Open, Sound], word: str
) -> None:
    changed = bytearray(sound[open_page].start)
    changed[0 if word == "magic" else 8] ^= 1
    sound[open_page].write(path, start=changed)

    with pytest.raises(PageError, match="not a page of this version"):
        open_page(path)


@OPENERS
def test_one_page_is_not_taken_for_the_other(
    open_page: Open, path: pathlib.Path, sound: dict[Open, Sound]
) -> None:
    (other,) = set(sound) - {open_page}
    sound[other].write(path, size=max(page.size for page in sound.values()))

    with pytest.raises(PageError, match="not a page of this version"):
        open_page(path)


@OPENERS
def test_what_is_no_file_is_said_to_be_so(open_page: Open, tmp_path: pathlib.Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(PageError, match="No such file"):
        open_page(tmp_path / "missing")
    with pytest.raises(PageError):
        open_page(tmp_path)
    with pytest.raises(PageError):
        open_page(tmp_path / "pipe")


@STEADY
@hypothesis.given(position=st.integers(0, HEADER + 2 * LINE_SIZE - 1), bit=st.integers(0, 7))
def test_a_flipped_bit_of_the_limits_is_read_or_refused(
    path: pathlib.Path, sound: dict[Open, Sound], position: int, bit: int
) -> None:
    changed = bytearray(sound[open_limits].start)
    changed[position] ^= 1 << bit
    sound[open_limits].write(path, start=changed)

    try:
        found = open_limits(path)
    except (PageError, ValueError):
        pass  # the command's one line of error
    else:
        assert len(found) <= 16
        assert all(1 <= line.compute_percent <= 100 for line in found)


@STEADY
@hypothesis.given(scribble=st.binary(min_size=LINE_SIZE, max_size=2 * LINE_SIZE))
def test_scribbled_limits_are_read_or_refused(
    path: pathlib.Path, sound: dict[Open, Sound], scribble: bytes
) -> None:
    start = sound[open_limits].start
    sound[open_limits].write(path, start=start[:HEADER] + scribble + start[HEADER + len(scribble) :])

    try:
        found = open_limits(path)
    except (PageError, ValueError):
        pass
    else:
        assert all(1 <= line.compute_percent <= 100 for line in found)


def test_a_line_whose_writer_died_is_refused_without_waiting(
    path: pathlib.Path, sound: dict[Open, Sound]
) -> None:
    changed = bytearray(sound[open_limits].start)
    changed[HEADER] |= 1  # seq: odd while it is written
    sound[open_limits].write(path, start=changed)

    with pytest.raises(PageError, match="read device 0"):
        open_limits(path)


def test_the_next_writer_mends_a_line_whose_writer_died(path: pathlib.Path, sound: dict[Open, Sound]) -> None:
    changed = bytearray(sound[open_limits].start)
    changed[HEADER] |= 1
    sound[open_limits].write(path, start=changed)

    with LimitsPage(path, writable=True) as page:
        page.write(0, LINE)

        assert page.read(0) == LINE


@STEADY
@hypothesis.given(data=st.data())
def test_scribbled_accounts_are_read_reaped_and_mended(
    path: pathlib.Path, sound: dict[Open, Sound], data: st.DataObject
) -> None:
    sound[open_usage].write(path)
    with path.open("r+b") as file:
        for _ in range(data.draw(st.integers(1, 4))):
            file.seek(data.draw(st.integers(12, 194 * 4096 + 16 * 384)))
            file.write(data.draw(st.binary(min_size=8, max_size=64)))

    try:
        page = UsagePage(path)
    except PageError:
        return  # the header was hit
    with page:
        page.reap()
        page.reconcile(0)
        found = page.read(0)

        assert found.processes == ()
        assert found.used >= 0


def test_accounts_that_are_cut_short_while_they_are_open_are_an_error_and_not_the_end(
    path: pathlib.Path, sound: dict[Open, Sound]
) -> None:
    sound[open_usage].write(path)
    with UsagePage(path) as page:
        os.truncate(path, 0)

        with pytest.raises(PageError, match="cut short"):
            page.reap()
        with pytest.raises(PageError, match="cut short"):
            page.reconcile(0)
        with pytest.raises(PageError, match="cut short"):
            busy_shares([(page, 0)], since_ns=0, until_ns=clock_ns())


def test_after_one_that_was_cut_short_others_are_read_as_before(
    path: pathlib.Path, sound: dict[Open, Sound]
) -> None:
    sound[open_usage].write(path)
    with UsagePage(path) as broken:
        os.truncate(path, 0)
        with pytest.raises(PageError, match="cut short"):
            broken.reap()

    sound[open_usage].write(path)

    with UsagePage(path) as page:
        assert (page.reap(), page.reconcile(0)) == (0, 0)
