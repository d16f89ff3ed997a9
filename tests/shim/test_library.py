"""Where the binding finds its library, and what opening it does not do."""

import pathlib
import subprocess
import sys

import pytest

from vgpu_shim import library


def test_the_named_library_is_the_only_place(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    monkeypatch.setenv("VGPU_LIBRARY", str(tmp_path / "missing.so"))

    with pytest.raises(library.LibraryNotFoundError, match=r"missing\.so: build it with `make -C shim`"):
        library.find()


@pytest.mark.parametrize("content", [b"", b"\x7fELF but not really", b"/* a linker script */"])
def test_a_file_that_is_no_library_is_said_to_be_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path, content: bytes
) -> None:
    wrong = tmp_path / "libvgpu.so"
    wrong.write_bytes(content)
    monkeypatch.setenv("VGPU_LIBRARY", str(wrong))

    with pytest.raises(library.LibraryNotFoundError, match="that can be loaded"):
        library.load.__wrapped__()


def test_only_what_stands_between_the_marks_is_declared() -> None:
    header = "#include <stdint.h>\n/* <cffi> */\nint wanted;\n/* </cffi> */\nint unwanted;"

    assert library.declarations(header).strip() == "int wanted;"


def test_opening_the_library_opens_no_driver() -> None:
    script = (
        "from vgpu_shim import library; library.load(); print('libcuda' in open('/proc/self/maps').read())"
    )

    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )

    assert done.stdout == "False\n"
