import os
import pathlib

import pytest

from vgpu_agent import mounts


@pytest.fixture
def source(tmp_path: pathlib.Path) -> pathlib.Path:
    directory = tmp_path / "slice"
    (directory / "usage").mkdir(parents=True)
    (directory / "limits").write_text("limits")
    return directory


def test_a_link_shows_the_directory_and_goes_again(tmp_path: pathlib.Path, source: pathlib.Path) -> None:
    shown, target = mounts.LinkMounts(), tmp_path / "pod" / "mount"

    shown.expose(source, target)
    shown.expose(source, target)
    assert shown.exposed(target)
    assert (target / "limits").read_text() == "limits"

    shown.withdraw(target)
    shown.withdraw(target)
    assert not target.exists()
    assert (source / "limits").exists()


def test_a_directory_that_the_kubelet_made_gives_way_to_a_link(
    tmp_path: pathlib.Path, source: pathlib.Path
) -> None:
    target = tmp_path / "mount"
    target.mkdir()

    mounts.LinkMounts().expose(source, target)

    assert target.is_symlink()


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")


@needs_root
def test_a_mount_is_read_only_except_where_something_is_mounted_in_it(
    tmp_path: pathlib.Path, source: pathlib.Path
) -> None:
    kernel, target = mounts.KernelMounts(), tmp_path / "pod" / "mount"
    try:
        kernel.bound(source / "usage", size_bytes=2**20, inodes=16)
        kernel.expose(source, target)
        kernel.expose(source, target)

        with pytest.raises(OSError, match="Read-only file system"):
            (target / "limits").write_text("more")
        (target / "usage" / "accounts").write_text("used")
        assert (source / "usage" / "accounts").read_text() == "used"
    finally:
        kernel.withdraw(target)
        kernel.remove(source)

    assert not kernel.exposed(target)
    assert not target.exists()
    assert not source.exists()


@needs_root
def test_what_a_pod_writes_is_bounded(tmp_path: pathlib.Path, source: pathlib.Path) -> None:
    kernel = mounts.KernelMounts()
    try:
        kernel.bound(source / "usage", size_bytes=2**20, inodes=16)

        with pytest.raises(OSError, match="No space left"):
            (source / "usage" / "flood").write_bytes(bytes(2**21))
    finally:
        kernel.remove(source)


@needs_root
def test_a_refused_mount_says_what_was_tried(tmp_path: pathlib.Path) -> None:
    with pytest.raises(mounts.MountError, match=r"mount .*nothing at .*mount: No such file"):
        mounts.KernelMounts().expose(tmp_path / "nothing", tmp_path / "mount")
