"""A container as a local process: its command, its environment, and where its mounts really lie."""

import dataclasses
import os
import re
from collections.abc import Mapping
from pathlib import Path

from vgpu_e2e import errors, process
from vgpu_e2e.localnode.machine import Machine
from vgpu_e2e.platform import REPOSITORY
from vgpu_e2e.rest import Object

INSIDE = "/run/vgpu"
ROOMS = ("core", "shim", "agent", "e2e")
_FIELD = re.compile(r"metadata\.(?P<map>annotations|labels)\['(?P<key>.+)'\]")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What of the node a container needs: GPUs, a directory for logs, its volumes, its pod's address."""

    machine: Machine
    address: str
    logs: Path
    volumes: Mapping[str, Path]


def process_of(pod: Object, container: Object, place: Place) -> process.Process:
    """Return a container's process, not yet started."""
    command = [*container.get("command", []), *container.get("args", [])]
    name = f"{pod['metadata']['name']}.{container['name']}"
    if not command:
        raise errors.BedError(f"expected a command in container {name}: images are not run here")
    log = place.logs / f"{pod['metadata']['uid']}.{container['name']}.log"
    return process.Process(name, command, log=log, environment=environment(pod, container, place))


def environment(pod: Object, container: Object, place: Place) -> dict[str, str]:
    """Return a container's environment; an image's own is that of this Python.

    POD_IP stands for a network of the pod's own: what listens has to do so there.
    """
    basis = {
        "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
        "HOME": "/nonexistent",
        "PYTHONPATH": os.pathsep.join(str(REPOSITORY / room) for room in ROOMS),
        "PYTHONUNBUFFERED": "1",
        "POD_IP": place.address,
    }
    given = {each["name"]: _value(pod, each) for each in container.get("env", [])}
    return basis | given | place.machine.environment | _shim(container, place)


def _shim(container: Object, place: Place) -> dict[str, str]:
    """Return what stands for the mounts at /run/vgpu and /etc/ld.so.preload."""
    mounts = {
        each["mountPath"]: place.volumes.get(each["name"]) for each in container.get("volumeMounts", [])
    }
    directory, preload = mounts.get(INSIDE), mounts.get("/etc/ld.so.preload")
    if directory is None:
        return {}
    if preload is None:
        return {"VGPU_DIR": str(directory)}
    library = (preload / "ld.so.preload").read_text().strip()
    return {"VGPU_DIR": str(directory), "LD_PRELOAD": library.replace(INSIDE, str(preload))}


def _value(pod: Object, variable: Object) -> str:
    """Return a variable's value; a field that is not there is the empty text, as the kubelet has it."""
    if "value" in variable:
        return str(variable["value"])
    path = variable.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath", "")
    if match := _FIELD.fullmatch(path):
        return str(pod["metadata"].get(match["map"], {}).get(match["key"], ""))
    parts = path.split(".")
    if len(parts) == 2 and parts[0] in ("metadata", "spec"):
        return str(pod[parts[0]].get(parts[1], ""))
    return ""
