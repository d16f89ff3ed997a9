"""Container images made from files of this machine, as archives that containerd imports."""

import hashlib
import io
import json
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from vgpu_e2e import errors
from vgpu_e2e.platform import REPOSITORY

PAUSE = "docker.io/local/pause:1"
SERVER = "docker.io/local/server:1"
DRIVER = "/driver"  # where a container finds the simulated libcuda
ROOMS = "/srv/rooms"
PACKAGES = "/srv/packages"

_NEEDED = (
    "aiohttp",
    "aiohappyeyeballs",
    "aiosignal",
    "attr",
    "attrs",
    "click",
    "frozenlist",
    "idna",
    "multidict",
    "prometheus_client",
    "propcache",
    "yarl",
    "typing_extensions.py",
)
_SPARED = re.compile(
    r"(^|/)(__pycache__|site-packages|dist-packages|test|tests|idlelib|ensurepip|tkinter|turtledemo|config-[^/]*)(/|$)"
)


def pause(busybox: Path) -> bytes:
    """Return the image of a pod's sandbox: it sleeps."""
    files = [(str(busybox), "bin/busybox")]
    return archive(PAUSE, files, command=["/bin/busybox", "sleep", "2147483647"], environment={})


def server(busybox: Path, driver: Path, shim: Path) -> bytes:
    """Return an image with this Python, the inference server, the simulated driver and busybox as a shell.

    What the shim links to is there as in any image with a C library; the shim itself is not.
    """
    files = [
        *interpreter(),
        *((each, each) for each in shared_libraries([str(shim)])),
        *_packages(),
        *_rooms(),
        (str(busybox), "bin/busybox"),
        (str(busybox), "bin/sh"),
    ]
    files += [(str(driver / name), f"{DRIVER}/{name}") for name in ("libcuda.so.1", "libnvidia-ml.so.1")]
    environment = {
        "PATH": f"{Path(sys.base_prefix) / 'bin'}:/usr/bin:/bin",
        "PYTHONPATH": f"{ROOMS}:{PACKAGES}",
        "PYTHONUNBUFFERED": "1",
        "LD_LIBRARY_PATH": f"{DRIVER}:{Path(sys.base_prefix) / 'lib'}",
    }
    return archive(SERVER, files, command=["/bin/sh"], environment=environment)


def python() -> str:
    """Return the interpreter's path in the server image."""
    return str(_interpreter())


Files = Iterable[tuple[str, str]]


def _interpreter() -> Path:
    return Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"


def interpreter() -> Iterator[tuple[str, str]]:
    """Yield the files of this Python without its packages, each where it is on this machine."""
    library = Path(sysconfig.get_path("stdlib"))
    kept = (each for each in library.rglob("*") if not _SPARED.search(str(each.relative_to(library))))
    found = [str(_interpreter()), *(str(each) for each in kept if each.is_file())]
    yield from ((each, each) for each in found)
    modules = [each for each in found if each.endswith(".so")] + [str(_interpreter())]
    yield from ((each, each) for each in shared_libraries(modules))


def _packages() -> Iterator[tuple[str, str]]:
    site = Path(sysconfig.get_path("purelib"))
    for name in _NEEDED:
        top = site / name
        for each in [top] if top.is_file() else top.rglob("*"):
            if each.is_file() and "__pycache__" not in each.parts:
                yield str(each), f"{PACKAGES}/{each.relative_to(site)}"


def _rooms() -> Iterator[tuple[str, str]]:
    names = ("__init__", "localnode/__init__", "localnode/cuda", "localnode/holdings", "localnode/server")
    files = {f"vgpu_e2e/{name}.py": REPOSITORY / "e2e" for name in names}
    client = REPOSITORY / "shim" / "vgpu_client"  # as an application would have it installed
    files |= {f"vgpu_client/{each.name}": client.parent for each in client.glob("*.py")}
    yield from ((str(room / path), f"{ROOMS}/{path}") for path, room in files.items())


def shared_libraries(programs: Sequence[str]) -> set[str]:
    """Return the files that the dynamic linker would load, itself among them."""
    listed = subprocess.run(["ldd", *programs], capture_output=True, text=True, check=False).stdout
    return {path for path in re.findall(r"(/\S+) \(0x", listed) if os.path.exists(path)}


def archive(name: str, files: Files, *, command: Sequence[str], environment: dict[str, str]) -> bytes:
    """Return an OCI image layout as a tar, with one uncompressed layer."""
    layer = _layer(files)
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Cmd": list(command), "Env": [f"{key}={value}" for key, value in environment.items()]},
            "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
        }
    ).encode()
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": _descriptor("application/vnd.oci.image.config.v1+json", config),
            "layers": [_descriptor("application/vnd.oci.image.layer.v1.tar", layer)],
        }
    ).encode()
    entry = _descriptor("application/vnd.oci.image.manifest.v1+json", manifest)
    index = {"schemaVersion": 2, "manifests": [entry | {"annotations": {"io.containerd.image.name": name}}]}
    blobs = {f"blobs/sha256/{_digest(blob)[7:]}": blob for blob in (layer, config, manifest)}
    contents = {
        "oci-layout": json.dumps({"imageLayoutVersion": "1.0.0"}).encode(),
        "index.json": json.dumps(index).encode(),
    }
    return _tar(contents | blobs)


def _layer(files: Files) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for directory in ("tmp", "run", "etc", "proc", "sys", "dev"):
            entry = tarfile.TarInfo(directory)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if directory == "tmp" else 0o755
            tar.addfile(entry)
        for target, source in {target: source for source, target in files}.items():
            _add(tar, source, target)
    return buffer.getvalue()


def _add(tar: tarfile.TarFile, source: str, target: str) -> None:
    try:
        content = Path(source).read_bytes()
    except OSError as error:
        raise errors.BedError(f"expected {source} for an image: {error}") from None
    entry = tarfile.TarInfo(target.lstrip("/"))
    entry.size, entry.mode = len(content), 0o755 if os.access(source, os.X_OK) else 0o644
    tar.addfile(entry, io.BytesIO(content))


def _tar(contents: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in contents.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def _descriptor(kind: str, blob: bytes) -> dict[str, object]:
    return {"mediaType": kind, "digest": _digest(blob), "size": len(blob)}


def _digest(blob: bytes) -> str:
    return f"sha256:{hashlib.sha256(blob).hexdigest()}"
