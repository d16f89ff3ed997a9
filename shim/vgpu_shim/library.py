"""Finds libvgpu.so and lets cffi read the declarations that it carries.

Opening the library starts nothing: it does not look for a GPU, a directory or
a limits page before a driver function is called.
"""

import errno
import functools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cffi

_REASONS = {
    errno.EPROTO: "not a page of this version",
    errno.EFAULT: "cut short while it was read; a process of the slice did that",
}
"""What errors mean of a page."""

_HERE = Path(__file__).resolve().parent


class Library(NamedTuple):
    """The opened library and cffi's view of it."""

    ffi: Any
    lib: Any
    path: Path


class LibraryNotFoundError(Exception):
    """No libvgpu.so in any of the places where it may be."""


class PageError(Exception):
    """A page could not be made, opened or changed."""


def _places() -> Iterator[Path]:
    if given := os.environ.get("VGPU_LIBRARY"):
        yield Path(given)
        return
    yield _HERE / "libvgpu.so"
    yield _HERE.parent.parent / "build" / "shim" / "libvgpu.so"
    yield Path("/usr/lib/vgpu/libvgpu.so")


def find() -> Path:
    """The library's file: VGPU_LIBRARY, beside this package, the build's, or the image's."""
    places = list(_places())
    for place in places:
        if place.is_file():
            return place
    raise LibraryNotFoundError(
        f"libvgpu.so not found in {', '.join(map(str, places))}: build it with `make -C shim`, "
        "or set VGPU_LIBRARY"
    )


def declarations(header: str) -> str:
    """The part of the header between its marks, without what cffi does not read."""
    _, _, rest = header.partition("/* <cffi> */")
    text, _, _ = rest.partition("/* </cffi> */")
    return text


@functools.cache
def load() -> Library:
    """The library, opened once."""
    path = find()
    asking: Any = cffi.FFI()
    ffi: Any = cffi.FFI()
    asking.cdef("const char *vgpu_region_declarations(void);")
    try:
        header = asking.string(asking.dlopen(str(path)).vgpu_region_declarations()).decode()
    except (OSError, AttributeError) as error:
        raise LibraryNotFoundError(f"{path} is no libvgpu.so that can be loaded: {error}") from None
    ffi.cdef(declarations(header))
    lib = ffi.dlopen(str(path))
    check(lib.vgpu_guard(), f"guard against pages that are cut short, with {path}")
    return Library(ffi, lib, path)


def check(code: int, what: str) -> int:
    """The code itself, or a PageError that says what the operating system said."""
    if code >= 0:
        return code
    raise PageError(f"{what}: {_REASONS.get(-code) or os.strerror(-code)}")


def check_device_count(count: int) -> int:
    """The count itself; ValueError when a slice's pages cannot have so many devices."""
    most = int(load().lib.VGPU_DEVICES_MAX)
    if not 1 <= count <= most:
        raise ValueError(
            f"a slice of {count} devices: expected 1 to {most}; leave out some, or make several slices"
        )
    return count
