"""Builds ``servers.c`` once per version into the user's cache and opens it."""

import ctypes
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_name("servers.c")


class NoCompilerError(Exception):
    """There is no C compiler, or it refuses the source."""


def load() -> ctypes.CDLL:
    """The compiled functions; raises NoCompilerError."""
    version = hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "vgpu" / "elasticity"
    library = cache / f"servers-{version}.so"
    if not library.exists():
        _build(library)
    return ctypes.CDLL(str(library))


def _build(library: Path) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise NoCompilerError("expected a C compiler (cc, gcc or clang) in PATH, found none; install one")
    library.parent.mkdir(parents=True, exist_ok=True)
    built = library.with_suffix(f".{os.getpid()}")  # renamed when whole: two runs may build at once
    command = [compiler, "-O2", "-Wall", "-Wextra", "-shared", "-fPIC", "-o", str(built), str(SOURCE), "-lm"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NoCompilerError(f"expected {compiler} to build {SOURCE.name}, it said: {done.stderr.strip()}")
    built.rename(library)
