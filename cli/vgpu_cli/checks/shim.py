"""The shim gets into containers: agents find the library, nodes apply limits, and no process escapes them."""

import re
from collections.abc import Iterator

from vgpu_cli import words
from vgpu_cli.checks.finding import Finding, Probe, fault, skipped, sound
from vgpu_cli.reading import SYSTEM
from vgpu_kube import errors
from vgpu_kube.objects import Object
from vgpu_kube.resources import EVENTS, PODS

IMAGE = "use an image of this version for the agent, built with `make -C shim`; it must hold libvgpu.so"
REFUSED = f"see what the agent says there: kubectl -n {SYSTEM} logs -l app.kubernetes.io/name=vgpu-agent"
ESCAPED = (
    "look into the image of these pods: static binaries and setuid programs do not load the shim, "
    "nor does a libc other than glibc"
)
_LIBRARY = re.compile(r"libvgpu|shim|ld\.so\.preload", re.IGNORECASE)


async def look(probe: Probe) -> list[Finding]:
    """Whether limits are in force in containers."""
    found = [*await _agents(probe), *await _refused(probe), *await _escaped(probe)]
    return found or [sound("agents find libvgpu.so, every slice's limits are applied, nothing escaped them")]


async def _agents(probe: Probe) -> list[Finding]:
    """Agents that ended because of the library."""
    label = "app.kubernetes.io/name=vgpu-agent"
    try:
        pods = (await probe.session.cluster.list(PODS, SYSTEM, labels=label)).items
    except errors.Forbidden:
        return [skipped(f"the pods of {SYSTEM} may not be read")]
    said = {message for pod in pods for message in await _said(probe, pod) if _LIBRARY.search(message)}
    return [fault(f"an agent cannot load the shim: {each}", remedy=IMAGE) for each in sorted(said)]


async def _said(probe: Probe, pod: Object) -> list[str]:
    """The last words of an agent that has ended: as its status has them, else the end of its log."""
    kept = list(_last_words(pod))
    if kept or not _restarts(pod):
        return kept
    name = pod["metadata"]["name"]
    path = f"/api/v1/namespaces/{SYSTEM}/pods/{name}/log?previous=true&tailLines=20&limitBytes=8192"
    try:
        return (await probe.session.cluster.text(path)).splitlines()[-1:]
    except errors.KubeError:
        return []


def _restarts(pod: Object) -> bool:
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    return any(each.get("restartCount", 0) > 0 and not each.get("ready") for each in statuses)


def _last_words(pod: Object) -> Iterator[str]:
    """What the containers of a pod said when they ended, as far as Kubernetes keeps it."""
    for each in (pod.get("status") or {}).get("containerStatuses") or ():
        for state in (each.get("state") or {}, each.get("lastState") or {}):
            for how in ("waiting", "terminated"):
                if message := (state.get(how) or {}).get("message"):
                    yield message


async def _refused(probe: Probe) -> list[Finding]:
    """Slices whose limits a node could not apply."""
    refused = [
        f"{node['metadata']['name']}: {report.get('message') or 'no reason given'}"
        for node in await probe.nodes()
        for report in ((node.get("status") or {}).get("slices") or {}).values()
        if report.get("state") == "Refused"
    ]
    if not refused:
        return []
    slices = words.counted(len(refused), "slice")
    remedy = IMAGE if any(_LIBRARY.search(each) for each in refused) else REFUSED
    return [fault(f"the limits of {slices} were refused: {words.listed(refused)}", remedy=remedy)]


async def _escaped(probe: Probe) -> list[Finding]:
    """Pods that hold GPU memory their slice does not know of."""
    try:
        events = (await probe.session.cluster.list(EVENTS, fields="reason=GPUMemoryUnaccounted")).items
    except errors.Forbidden:
        return [skipped("Events may not be read")]
    notes = sorted({each.get("note") or "" for each in events})
    if not notes:
        return []
    return [fault(f"GPU memory outside of slices: {words.listed(notes)}", remedy=ESCAPED)]
