"""Agents and shims of different releases meet over one pair of pages.

The other release here is this one with one field more in each page, taken from what is reserved, as the
contract of vgpu_region.h has it. What holds for it as the newer one holds for ours as the older one.
"""

import json
import os
import pathlib
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from vgpu_shim.library import PageError
from vgpu_shim.limits import LimitsPage
from vgpu_shim.usage import UsagePage

if TYPE_CHECKING:
    from tests.shim.conftest import Slice

ROOT = pathlib.Path(__file__).parents[2]
MIB, GIB = 1 << 20, 1 << 30
OUT_OF_MEMORY, NOT_PERMITTED = 2, 800
ADDITIONS = {  # in struct vgpu_limits_device, and in struct vgpu_counters
    "  uint8_t reserved[24];\n};\n\nstruct vgpu_limits {": (
        "  uint32_t later;\n  uint8_t reserved[20];\n};\n\nstruct vgpu_limits {"
    ),
    "  uint64_t reserved;\n};\n\n/* The slice's account": "  uint64_t later;\n};\n\n/* The slice's account",
}
LATER_OFFSET = 128 + 104  # of the field that is new, in the first device's line
VERSION_OFFSET = 8

NewSlice = Callable[..., "Slice"]


@pytest.fixture(scope="session")
def newer(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The library of a later release."""
    folder = tmp_path_factory.mktemp("newer")
    for name in ("src", "include"):
        shutil.copytree(ROOT / "shim" / name, folder / "shim" / name)
    for name in ("Makefile", "sim.mk"):
        shutil.copy(ROOT / "shim" / name, folder / "shim")
    header = folder / "shim" / "include" / "vgpu_region.h"
    text = header.read_text()
    for before, after in ADDITIONS.items():
        assert text.count(before) == 1, before
        text = text.replace(before, after)
    header.write_text(text)
    subprocess.run(["make", "-s", "-C", str(folder / "shim"), "lib"], check=True, timeout=300)
    return folder / "build" / "shim" / "libvgpu.so"


def as_the_newer_agent(newer: pathlib.Path, directory: pathlib.Path, *what: str) -> Any:
    """What the region command does with the newer library; its JSON where it prints some."""
    command = [sys.executable, "-m", "vgpu_shim", str(directory), *what]
    environment = {**os.environ, "VGPU_LIBRARY": str(newer)}
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True, timeout=60)
    return json.loads(done.stdout) if "json" in what else None


def under(library: pathlib.Path, slice_: "Slice") -> "Slice":
    """The slice as processes see it that were started with another release of the shim."""
    return type(slice_)(
        directory=slice_.directory, environment={**slice_.environment, "LD_PRELOAD": str(library)}
    )


def test_an_older_shim_obeys_a_newer_agent(new_slice: NewSlice, newer: pathlib.Path) -> None:
    slice_ = new_slice(memory=GIB)
    with slice_.limits_path.open("r+b") as page:
        page.seek(LATER_OFFSET)
        page.write(struct.pack("<I", 7))
    with slice_.tenant() as tenant:
        assert tenant.call("allocate", 2 * GIB)[0] == OUT_OF_MEMORY

        as_the_newer_agent(newer, slice_.directory, "set", "--memory", "4Gi")

        assert tenant.call("allocate", 2 * GIB)[0] == 0
        told = as_the_newer_agent(newer, slice_.directory, "show", "-o", "json")
    assert told["devices"][0]["usage"]["used"] == 2 * GIB


def test_a_newer_shim_obeys_an_older_agent(new_slice: NewSlice, newer: pathlib.Path) -> None:
    slice_ = new_slice(memory=GIB)
    with under(newer, slice_).tenant() as tenant, UsagePage(slice_.usage_path) as usage:
        assert tenant.call("allocate", 2 * GIB)[0] == OUT_OF_MEMORY

        slice_.set(memory_limit=4 * GIB)

        assert tenant.call("allocate", 2 * GIB)[0] == 0
        assert usage.used(0) == 2 * GIB


def test_processes_of_both_releases_share_one_limit(new_slice: NewSlice, newer: pathlib.Path) -> None:
    slice_ = new_slice(memory=GIB)
    with slice_.tenant() as old, under(newer, slice_).tenant() as new:
        assert old.call("allocate", 600 * MIB)[0] == 0
        assert new.call("allocate", 600 * MIB)[0] == OUT_OF_MEMORY
        assert new.call("allocate", 424 * MIB)[0] == 0

        old.kill()

        assert new.call("allocate", 600 * MIB)[0] == 0


def test_an_agent_that_was_upgraded_leaves_the_pages_of_running_slices_where_they_are(
    new_slice: NewSlice, newer: pathlib.Path
) -> None:
    slice_ = new_slice(memory=GIB)
    files = [slice_.limits_path, slice_.usage_path]
    before = [file.stat().st_ino for file in files]
    with slice_.tenant() as tenant:
        tenant.call("allocate", MIB)

        as_the_newer_agent(newer, slice_.directory, "set", "--memory", "2Gi")
        as_the_newer_agent(newer, slice_.directory, "reap")

        assert [file.stat().st_ino for file in files] == before
        assert tenant.call("memory") == [0, 2 * GIB - MIB, 2 * GIB]


@pytest.mark.parametrize("page", ["limits_path", "usage_path"])
def test_a_page_of_another_layout_is_refused_on_both_sides_and_left_alone(
    new_slice: NewSlice, page: str
) -> None:
    slice_ = new_slice(memory=GIB)
    file: pathlib.Path = getattr(slice_, page)
    with file.open("r+b") as opened:
        opened.seek(VERSION_OFFSET)
        opened.write(struct.pack("<I", 2))
    (slice_.directory / "required").touch()
    before = file.read_bytes()

    with pytest.raises(PageError, match="not a page of this version"):
        LimitsPage(file) if page == "limits_path" else UsagePage(file)
    with slice_.tenant() as tenant:
        assert tenant.call("allocate", MIB)[0] == NOT_PERMITTED

    assert file.read_bytes() == before
