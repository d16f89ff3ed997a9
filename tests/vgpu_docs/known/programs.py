"""The other programs that pages show: make, python, vgpu-region, docker, curl and the shell's own."""

import functools
import re
import subprocess
import sys
from collections.abc import Sequence

import click

from known.definitions import ROOT
from vgpu_docs.commands import Command
from vgpu_monitoring import catalogue
from vgpu_shim.__main__ import cli as region

MAKEFILE = (ROOT / "Makefile").read_text()
DOCKERFILE = (ROOT / "Dockerfile").read_text()
CLUSTER = (ROOT / "e2e" / "vgpu_e2e" / "localnode" / "cluster.py").read_text()
SERVER = (ROOT / "e2e" / "vgpu_e2e" / "localnode" / "server.py").read_text()
METRIC = re.compile(r"\bvgpu_[a-z]\w*")


def check_make(command: Command) -> None:
    for word in command.words[1:]:
        name, is_set, _ = word.partition("=")
        if is_set:
            assert re.search(rf"^{name} \?=", MAKEFILE, re.MULTILINE), f"the Makefile has no variable {name}"
        else:
            assert re.search(rf"^{word}:", MAKEFILE, re.MULTILINE), f"the Makefile has no target {word}"


def check_python(command: Command) -> None:
    _, option, module, *arguments = command.words
    assert option == "-m", f"expected python -m MODULE, found {option}"
    check_options(arguments, help_of(module))


@functools.cache
def help_of(module: str) -> str:
    """What a module answers to --help; bench/ is on the path."""
    done = subprocess.run(
        [sys.executable, "-m", module, "--help"],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT / "bench",
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def check_options(arguments: Sequence[str], described: str) -> None:
    for word in arguments:
        if word.startswith("-"):
            name = word.partition("=")[0]
            assert re.search(rf"(?<![\w-]){name}(?![\w-])", described), f"no option {name}:\n{described}"


def check_region(command: Command) -> None:
    _, _, verb, *arguments = command.words
    found = region.get_command(click.Context(region), verb)
    assert found is not None, f"vgpu-region has no command {verb}"
    found.make_parser(click.Context(found)).parse_args(arguments)


def check_docker(command: Command) -> None:
    verb = command.words[1]
    assert verb in {"build", "tag", "push"}, f"docker {verb} is not known here: add it"
    for word in command.words[2:]:
        if "=" in word:
            name = word.removeprefix("--build-arg=").partition("=")[0]
            assert re.search(rf"^ARG {name}\b", DOCKERFILE, re.MULTILINE), f"the Dockerfile has no ARG {name}"


def check_source(command: Command) -> None:
    """What ``make cluster`` leaves for other shells."""
    [_, path] = command.words
    assert path.startswith("build/cluster/")
    assert f'"{path.removeprefix("build/cluster/")}"' in CLUSTER, f"make cluster writes no {path}"


def check_curl(command: Command) -> None:
    """Requests go through the gateway to a server of the test bed, or to a process's metrics."""
    [url] = [word for word in command.words if word.startswith(("$", "http"))]
    known = {f"{name}" for name in re.findall(r'"([A-Z]+)": ', CLUSTER)} | {"PROMETHEUS"}
    base, *_, last = url.split("/")
    assert base.strip("${}") in known, f"{base} is not set by make cluster: it sets {known}"
    assert f"/{last.partition('?')[0]}" in SERVER, f"the server of the test bed answers no /{last}"
    check_metrics(" ".join(command.words))


def check_metrics(text: str) -> None:
    """Every metric of ours that a text names is exported."""
    exported = {each.name for each in catalogue.metrics()}
    for name in METRIC.findall(text):
        assert re.sub(r"_(bucket|sum|count)$", "", name) in exported | {name} & exported, f"no metric {name}"
