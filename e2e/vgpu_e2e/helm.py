"""Helm as tests use it: the one on the PATH, else built once from its Go module; and the repository's chart.

`python -m vgpu_e2e.helm` prints where helm is; `python -m vgpu_e2e.helm copy-crds` brings the chart's copies
of the CRDs up to date.
"""

import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
import yaml

from vgpu_e2e import build, cache, errors, golang
from vgpu_e2e.platform import CRDS, NAMESPACE, REPOSITORY
from vgpu_e2e.rest import Object

MODULE = REPOSITORY / "e2e" / "helmtool"
CHART = REPOSITORY / "helm" / "vgpu"
COPIES = CHART / "files" / "crds"
RELEASE = "vgpu"
BUILD_SECONDS = 1200


class HelmError(errors.BedError):
    """Helm refused; the message is what it said."""


def ensure() -> Path:
    """Return a helm, built now if there is none yet. Raises BedError when that cannot be done."""
    if found := shutil.which("helm"):
        return Path(found)
    place = cache.directory()
    place.mkdir(parents=True, exist_ok=True)
    with (place / "helm.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        toolchain = golang.find(module=MODULE / "go.mod", cache=place)
        digest = build.inputs_digest(MODULE, go_version=toolchain.version)
        helm = place / f"helm-{digest}" / "helm"
        if not helm.exists():
            _build(toolchain, helm)
    return helm


def run(*arguments: str, kubeconfig: Path | None = None, timeout_seconds: float = 120) -> str:
    """Return what helm prints. Raises HelmError with what it complains."""
    home = cache.directory() / "helm-home"
    environment = {
        "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
        "HOME": str(home),
        "HELM_CACHE_HOME": str(home),
        "HELM_CONFIG_HOME": str(home),
        "HELM_DATA_HOME": str(home),
    }
    if kubeconfig is not None:
        environment["KUBECONFIG"] = str(kubeconfig)
    command = [str(ensure()), *arguments]
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=timeout_seconds
        )
    except subprocess.TimeoutExpired as late:
        raise HelmError(f"helm {arguments[0]} is not done after {late.timeout:g} s") from None
    if done.returncode:
        raise HelmError(f"{done.stdout}{done.stderr}".strip())
    return done.stdout


def flags(values: Mapping[str, object]) -> list[str]:
    """Return values by their dotted names as helm takes them, types kept."""
    return [part for name, value in values.items() for part in ("--set-json", f"{name}={json.dumps(value)}")]


def render(
    *arguments: str,
    chart: Path = CHART,
    values: Mapping[str, object] | None = None,
    namespace: str = NAMESPACE,
) -> list[Object]:
    """Return the manifests of the chart. Raises HelmError where a guard or the schema refuses."""
    text = run(
        "template",
        RELEASE,
        str(chart),
        "--namespace",
        namespace,
        "--kube-version",
        build.kubernetes_version((build.MODULE / "go.mod").read_text()),
        *flags(values or {}),
        *arguments,
    )
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return [each for each in yaml.load_all(text, Loader=loader) if each is not None]


def copy_crds() -> None:
    """Copy the CRDs into the chart: a package cannot hold what lies outside of it."""
    for definition in CRDS.glob("*.yaml"):
        shutil.copyfile(definition, COPIES / definition.name)


def _build(toolchain: golang.Toolchain, helm: Path) -> None:
    print("helm: none on the PATH, building it once; one to three minutes", file=sys.stderr, flush=True)
    fresh = helm.parent / "fresh"
    command: Sequence[str] = [
        str(toolchain.command),
        "build",
        "-mod=readonly",
        "-trimpath",
        "-buildvcs=false",
        "-ldflags",
        "-s -w",
        "-o",
        str(fresh),
        "./cmd/helm",
    ]
    environment = os.environ | {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "", "GOWORK": "off"}
    helm.parent.mkdir(exist_ok=True)
    done = subprocess.run(
        command,
        cwd=MODULE,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=BUILD_SECONDS,
    )
    if done.returncode:
        raise errors.BedError(f"expected `go build` in {MODULE} to succeed:\n{done.stderr[-4000:]}")
    fresh.rename(helm)


@click.group(help=__doc__, invoke_without_command=True)
@click.pass_context
def main(context: click.Context) -> None:
    """Without a command: print where helm is, built if need be."""
    if context.invoked_subcommand is None:
        click.echo(ensure())


main.command("copy-crds", help="Copy crds/ into the chart.")(copy_crds)


if __name__ == "__main__":
    main()
