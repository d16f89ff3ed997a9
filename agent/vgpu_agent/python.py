"""The Python module for applications, as containers find it: ``/run/vgpu/python/vgpu_client``.

Like the library it is kept by contents and never overwritten: a slice's link moves to the newer version, and
what runs keeps the files it has opened.
"""

import hashlib
import os
import shutil
from pathlib import Path

import vgpu_client

FOLDER = "python"
PACKAGE = "vgpu_client"


def install(library: Path) -> Path:
    """The version of the module that this agent brings, below ``library``, put there whole or not at all."""
    sources = sorted(Path(vgpu_client.__file__).parent.glob("*.py"))
    digest = hashlib.sha256(b"".join(each.read_bytes() for each in sources)).hexdigest()[:12]
    installed = library / f"{PACKAGE}-{digest}"
    if not installed.exists():
        fresh = installed.with_suffix(".fresh")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir()
        for source in sources:
            shutil.copyfile(source, fresh / source.name)
        fresh.rename(installed)
    return installed


def offer(installed: Path, directory: Path) -> None:
    """Lets processes of a slice that start from now on import this version."""
    folder = directory / FOLDER
    mine, link = folder / installed.name, folder / PACKAGE
    mine.mkdir(parents=True, exist_ok=True)
    for source in installed.iterdir():
        if not (mine / source.name).exists():
            os.link(source, mine / source.name)
    if not link.is_symlink() or os.readlink(link) != installed.name:
        fresh = folder / f".{PACKAGE}.fresh"
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(installed.name)
        fresh.rename(link)
