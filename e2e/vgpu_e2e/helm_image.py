"""The images that an installation needs, made by the Dockerfile's own steps from files of this machine.

No registry and no Docker: where the Dockerfile begins with a base image, this begins with the Python at hand.
The simulated driver lies in the image as NVIDIA's runtime would put the real one there.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

from vgpu_e2e import cache, errors
from vgpu_e2e.localnode import machine
from vgpu_e2e.platform import REPOSITORY
from vgpu_e2e.realnode import images, runtime

REPOSITORY_NAME = "docker.io/local/elastic-vgpu"
KUBE_SCHEDULER = "docker.io/local/kube-scheduler:1"
HOME = "/opt/vgpu"  # as in the Dockerfile
INSTALL = "image/install.sh"
INSTALL_SECONDS = 900


def platform(gpus: machine.Machine, *, tag: str, source: Path = REPOSITORY) -> bytes:
    """Return the image of the four processes, installed from the working tree or another copy of it."""
    with tempfile.TemporaryDirectory(prefix="vgpu-image-") as folder:
        home = Path(folder) / "vgpu"
        install(home, source)
        files = [*images.interpreter(), *_environment(home), *_driver(gpus.driver)]
        return images.archive(
            f"{REPOSITORY_NAME}:{tag}", files, command=["python"], environment=_variables(gpus)
        )


def install(home: Path, source: Path = REPOSITORY) -> None:
    """Put into a directory that is not there yet what the Dockerfile's two steps put into the image."""
    ready = _dependencies(source)
    shutil.copytree(ready, home, symlinks=True)
    shutil.copytree(ready.with_name("vgpu.build"), home.with_name("vgpu.build"))
    _install("platform", home, source)


def kube_scheduler(binary: Path) -> bytes:
    """Return the image of kube-scheduler: one static binary."""
    files = [(str(binary), "usr/local/bin/kube-scheduler")]
    variables = {"PATH": "/usr/local/bin"}
    return images.archive(KUBE_SCHEDULER, files, command=["kube-scheduler"], environment=variables)


def _dependencies(source: Path) -> Path:
    """Return the environment with the pinned dependencies, made once for each set of them."""
    project = tomllib.loads((source / "pyproject.toml").read_text())["project"]
    digest = hashlib.sha256(f"{sys.version}\0{project['dependencies']}".encode())
    for path in ("constraints.txt", INSTALL):
        digest.update((source / path).read_bytes())
    place = cache.directory()
    place.mkdir(parents=True, exist_ok=True)
    made = place / f"image-{digest.hexdigest()[:12]}"
    with (place / "image.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            fresh = made.with_suffix(".fresh")
            shutil.rmtree(fresh, ignore_errors=True)
            _install("dependencies", fresh / "vgpu", source)
            fresh.rename(made)
    return made / "vgpu"


def _install(step: str, home: Path, source: Path) -> None:
    if source == REPOSITORY:
        machine.build()  # takes turns with others that build the shim
    home.parent.mkdir(parents=True, exist_ok=True)
    python = Path(sys.base_prefix) / "bin"
    environment = os.environ | {"PATH": f"{python}:{os.environ.get('PATH', '/usr/bin:/bin')}"}
    environment.pop("VIRTUAL_ENV", None)
    done = subprocess.run(
        [source / INSTALL, step, home],
        cwd=source,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=INSTALL_SECONDS,
    )
    if done.returncode:
        raise errors.BedError(f"expected {INSTALL} {step} to succeed:\n{done.stderr.strip()[-4000:]}")


def _environment(home: Path) -> Iterator[tuple[str, str]]:
    files = [each for each in (home / "lib").rglob("*") if each.is_file()]
    files += [home / "pyvenv.cfg", home / "bin" / "python"]
    yield from ((str(each), f"{HOME}/{each.relative_to(home)}") for each in files)
    modules = [str(each) for each in files if ".so" in each.suffixes]
    yield from ((each, each) for each in images.shared_libraries(modules) if not each.startswith(str(home)))


def _driver(driver: Path) -> Iterator[tuple[str, str]]:
    names = ("libcuda.so.1", "libnvidia-ml.so.1")
    yield from ((str(driver / name), f"{images.DRIVER}/{name}") for name in names)


def _variables(gpus: machine.Machine) -> dict[str, str]:
    return {
        "PATH": f"{HOME}/bin:/usr/bin:/bin",
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "LD_LIBRARY_PATH": f"{images.DRIVER}:{Path(sys.base_prefix) / 'lib'}",
        "VGPU_SIM_STATE": f"{runtime.GPUS}/{gpus.state.name}",
        "VGPU_SIM_CONFIG": f"{runtime.GPUS}/{gpus.config.name}",
    }
