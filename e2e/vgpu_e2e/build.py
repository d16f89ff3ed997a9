"""Builds the control plane's binaries once and keeps them outside the repository.

`python -m vgpu_e2e.build` does it from the command line. Nothing is started here.
"""

import argparse
import contextlib
import dataclasses
import fcntl
import hashlib
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from vgpu_e2e import cache, errors, golang

MODULE = Path(__file__).resolve().parent.parent / "controlplane"
CONTROL_PLANE = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl")
KUBELET = "kubelet"  # built only where asked for: a minute and 84 MB more
REPORT_SECONDS = 15.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be built, with which toolchain, and where to."""

    toolchain: golang.Toolchain
    destination: Path

    def missing(self, components: Sequence[str]) -> list[str]:
        """Return those components that are not built yet."""
        return [name for name in components if not (self.destination / name).exists()]


def ensure_binaries(components: Sequence[str] = CONTROL_PLANE) -> Path:
    """Return the directory that holds the components, built now if they are not there yet.

    Safe for several processes at once: the first builds, the others wait for it. A half-built component is
    never seen. Raises BedError when Go cannot be had or the build fails.
    """
    place = cache.directory()
    place.mkdir(parents=True, exist_ok=True)
    with _locked(place / "go.lock"):
        plan = _plan(place)
    if not plan.missing(components):
        return plan.destination
    with _locked(plan.destination.with_suffix(".lock")):
        if missing := plan.missing(components):
            _build(plan, missing)
    return plan.destination


def kubernetes_version(module: str) -> str:
    """Return the Kubernetes version, such as v1.36.4, that the text of a go.mod requires."""
    match = re.search(r"^\s*k8s\.io/kubernetes (v\S+)$", module, re.MULTILINE)
    if match is None:
        raise errors.BedError("expected k8s.io/kubernetes among the requirements of go.mod, found none")
    return match.group(1)


def inputs_digest(module: Path, *, go_version: str) -> str:
    """Return a short digest of everything that decides what the binaries are."""
    digest = hashlib.sha256(go_version.encode())
    for path in [module / "go.mod", module / "go.sum", *sorted(module.glob("cmd/*/main.go"))]:
        digest.update(b"\0" + str(path.relative_to(module)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


def linker_flags(version: str) -> str:
    """Return flags that strip the binaries and tell them their version; without it they say v0.0.0-master."""
    major, minor, _ = version.removeprefix("v").split(".", 2)
    component, client = "k8s.io/component-base/version", "k8s.io/client-go/pkg/version"
    values = {
        f"{component}.gitVersion": version,
        f"{component}.gitMajor": major,
        f"{component}.gitMinor": minor,
        f"{component}.gitTreeState": "clean",
        f"{client}.gitVersion": version,
    }
    return " ".join(["-s", "-w", *(f"-X {name}={value}" for name, value in values.items())])


def _plan(place: Path) -> Plan:
    toolchain = golang.find(module=MODULE / "go.mod", cache=place)
    digest = inputs_digest(MODULE, go_version=toolchain.version)
    return Plan(toolchain=toolchain, destination=place / f"controlplane-{digest}")


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(plan: Plan, components: Sequence[str]) -> None:
    _say(f"building {', '.join(components)} into {plan.destination}")
    _say("once; five to ten minutes on two cores when nothing is compiled yet")
    plan.destination.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=plan.destination.parent, prefix="building-") as folder:
        _compile(plan, components, output=Path(folder))
        for name in components:
            (Path(folder) / name).rename(plan.destination / name)


def _compile(plan: Plan, components: Sequence[str], *, output: Path) -> None:
    version = kubernetes_version((MODULE / "go.mod").read_text())
    command = [
        str(plan.toolchain.command),
        "build",
        "-v",
        "-mod=readonly",
        "-trimpath",
        "-buildvcs=false",
        "-ldflags",
        linker_flags(version),
        "-o",
        f"{output}/",
        *(f"./cmd/{name}" for name in components),
    ]
    environment = os.environ | {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "", "GOWORK": "off"}
    with subprocess.Popen(command, cwd=MODULE, env=environment, stderr=subprocess.PIPE, text=True) as go:
        progress = _Progress(components, output)
        complaints = progress.follow(go)
    if go.returncode:
        raise errors.BedError(
            f"expected `go build` in {MODULE} to succeed, it ended with {go.returncode}: {complaints}"
        )
    progress.report_finished()


class _Progress:
    """Prints a line per finished component, and every so often how many packages are compiled."""

    def __init__(self, components: Sequence[str], output: Path) -> None:
        self._waiting = list(components)
        self._output = output
        self._started = time.monotonic()
        self._packages = 0

    def follow(self, go: subprocess.Popen[str]) -> str:
        """Read what go says until it ends; return the end of what was not a package's name."""
        over = threading.Event()
        ticker = threading.Thread(target=self._tick, args=(over,), daemon=True)
        ticker.start()
        try:
            return self._read(go)
        finally:
            over.set()
            ticker.join()

    def report_finished(self) -> None:
        """Print a line for each component that has been linked since the last look."""
        for name in [name for name in self._waiting if (self._output / name).exists()]:
            self._waiting.remove(name)
            _say(f"{self._elapsed()}  built {name}")

    def _read(self, go: subprocess.Popen[str]) -> str:
        assert go.stderr is not None
        complaints: list[str] = []
        for line in go.stderr:
            if re.fullmatch(r"[\w./~-]+\n", line):
                self._packages += 1
            elif not line.startswith("go: downloading"):
                complaints.append(line)
        return "".join(complaints)[-4000:]

    def _tick(self, over: threading.Event) -> None:
        while not over.wait(REPORT_SECONDS):
            self.report_finished()
            _say(
                f"{self._elapsed()}  {self._packages} packages compiled, to come: {', '.join(self._waiting)}"
            )

    def _elapsed(self) -> str:
        minutes, seconds = divmod(int(time.monotonic() - self._started), 60)
        return f"{minutes:2d}:{seconds:02d}"


def _say(line: str) -> None:
    print(f"control plane: {line}", file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Build what is missing and print where it is."""
    parser = argparse.ArgumentParser(prog="python -m vgpu_e2e.build", description=__doc__)
    parser.add_argument("--kubelet", action="store_true", help="build the kubelet as well")
    wanted = parser.parse_args(arguments)
    components = (*CONTROL_PLANE, KUBELET) if wanted.kubelet else CONTROL_PLANE
    try:
        print(ensure_binaries(components))
    except errors.BedError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
