"""What a labelled pod may not ask for: whatever would take it around its slice.

Pure: sentences about one pod, each with what was found and what to do. What a pod gets is in ``pods``.
An image may still hold links that lead a mount over ours, or static programs that load no shim; those are
for the agent to see.
"""

import posixpath
import re
from collections.abc import Callable, Iterator

from vgpu import values
from vgpu.api import names
from vgpu_kube.objects import Object
from vgpu_webhooks.admission import pods, shape

MAX_SENTENCES = 5
"""Objections that one answer lists; the rest are counted."""

LABEL_VALUE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")

# /var/run is a link to /run in most images, and a mount below the link would land on ours.
COVERED = (pods.DIRECTORY, f"/var{pods.DIRECTORY}", pods.PRELOAD)

RUNTIME_DEVICES = ("/run/nvidia-container-devices", "/var/run/nvidia-container-devices")
"""Mounts below these ask NVIDIA's runtime for devices, as the environment variable does."""

DRIVER_PATHS = (
    "/dev/nvidia",  # and nvidia0, nvidiactl, nvidia-uvm, nvidia-caps
    "/dev/char",
    "/dev/dri",
    "/etc/cdi",
    "/proc/driver/nvidia",
    "/run/cdi",
    "/run/nvidia",
    "/run/vgpu",
    "/var/lib/kubelet",  # holds every pod's volumes, ours among them
    "/var/run/cdi",
    "/var/run/nvidia",
)
"""Host paths through which a container would reach devices, or limits that are not its own."""

SCHEDULERS = ("", "default-scheduler", names.SCHEDULER_NAME)
MIGHTY = ("ALL", "SYS_ADMIN", "SYS_MODULE", "SYS_RAWIO")
"""Capabilities that can undo a mount or reach a device."""

Rule = Callable[[Object], Iterator[str]]


def objections(pod: Object) -> list[str]:
    """Why this labelled pod cannot be admitted, whatever its claim says; empty where it can.

    Raises shape.MalformedError where it is no pod at all.
    """
    return [sentence for rule in RULES for sentence in rule(pod)]


def resource_objections(pod: Object, claim: values.Claim) -> list[str]:
    """Why its resources do not go with its claim: only what the claim says, on one container, is ours."""
    spec = shape.mapping(pod, "spec")
    containers = shape.objects(spec, "containers")
    bearing, wanted = pods.bearer(containers), pods.resources(claim)
    return [
        f"expected no {', '.join(own)} in the resources of container {shape.text(each, 'name')!r}; "
        f"remove it, the claim {claim.ref.name!r} says how much"
        for index, each in enumerate([*containers, *shape.objects(spec, "initContainers")])
        if (own := pods.own_resources(each)) and (index != bearing or own != wanted)
    ]


def summary(sentences: list[str]) -> str:
    """Objections as one message."""
    more = len(sentences) - MAX_SENTENCES
    shown = "; ".join(sentences[:MAX_SENTENCES])
    return f"{shown}; and {more} more" if more > 0 else shown


def claim_name(pod: Object) -> str:
    """The claim that the label names, empty where there is no such label."""
    return shape.text(shape.mapping(shape.mapping(pod, "metadata"), "labels"), names.CLAIM_LABEL)


def _label(pod: Object) -> Iterator[str]:
    name = claim_name(pod)
    if not LABEL_VALUE.fullmatch(name):
        yield (
            f"expected the name of a VGPUClaim of at most 63 letters, digits, '-', '_' and '.' in the label "
            f"{names.CLAIM_LABEL}, found {shape.described(name)}; name a claim of the pod's namespace"
        )


def _annotations(pod: Object) -> Iterator[str]:
    for key in shape.mapping(shape.mapping(pod, "metadata"), "annotations"):
        if key.startswith(f"{names.GROUP}/"):
            yield f"found the annotation {key!r}, which the platform writes when it binds the pod; remove it"
        elif key.startswith("cdi.k8s.io/"):
            yield f"found the annotation {key!r}, which injects devices beside the claim; remove it"


def _placement(pod: Object) -> Iterator[str]:
    spec = shape.mapping(pod, "spec")
    if node := shape.text(spec, "nodeName"):
        yield (
            f"found spec.nodeName {node!r}, which skips the placement of the slice; remove it, and use "
            "spec.nodeSelector or affinity to choose nodes"
        )
    scheduler = shape.text(spec, "schedulerName")
    if scheduler not in SCHEDULERS:
        yield (
            f"expected spec.schedulerName {names.SCHEDULER_NAME!r} or none, found {scheduler!r}; remove it, "
            "slices are placed by a scheduler of their own"
        )


def _volumes(pod: Object) -> Iterator[str]:
    for volume in shape.objects(shape.mapping(pod, "spec"), "volumes"):
        name = shape.text(volume, "name")
        ours = shape.text(shape.mapping(volume, "csi"), "driver") == names.CSI_DRIVER
        if (ours or name == pods.VOLUME["name"]) and volume != pods.VOLUME:
            yield (
                f"found a volume {name!r} of its own in place of the platform's volume "
                f"{pods.VOLUME['name']!r} of driver {names.CSI_DRIVER}; remove or rename it"
            )
        path = shape.text(shape.mapping(volume, "hostPath"), "path")
        if path and _reaches_driver(path):
            yield f"found hostPath {path!r}, which reaches devices beside the claim; remove volume {name!r}"


def _containers(pod: Object) -> Iterator[str]:
    spec = shape.mapping(pod, "spec")
    for container in [*shape.objects(spec, "containers"), *shape.objects(spec, "initContainers")]:
        name = shape.text(container, "name")
        for rule in CONTAINER_RULES:
            for sentence in rule(container):
                yield f"container {name!r}: {sentence}"


def _environment(container: Object) -> Iterator[str]:
    for variable in shape.objects(container, "env"):
        if shape.text(variable, "name") == pods.DEVICES_VARIABLE and variable != pods.DEVICES:
            yield f"found {pods.DEVICES_VARIABLE}, which the platform sets from the slice; remove it"


def _mounts(container: Object) -> Iterator[str]:
    mounted = [
        (each, shape.text(each, "mountPath"))
        for each in shape.objects(container, "volumeMounts")
        if each not in pods.MOUNTS
    ]
    blocks = [(each, shape.text(each, "devicePath")) for each in shape.objects(container, "volumeDevices")]
    for _, path in [*mounted, *blocks]:
        if _lies_in(path, COVERED):
            yield f"found a mount at {path!r}, where the platform mounts the slice's own files; move it"
        elif _lies_in(path, RUNTIME_DEVICES):
            yield f"found a mount at {path!r}, which asks for devices beside the claim; remove it"


def _security(container: Object) -> Iterator[str]:
    context = shape.mapping(container, "securityContext")
    if context.get("privileged"):
        yield "found privileged: true, with which it would see every GPU of the node; remove it"
    for added in shape.texts(shape.mapping(context, "capabilities"), "add"):
        if added.upper().removeprefix("CAP_") in MIGHTY:
            yield f"found the capability {added}, with which it could undo its limits; remove it"


def _other_devices(container: Object) -> Iterator[str]:
    asked = shape.mapping(container, "resources")
    for key in {**shape.mapping(asked, "limits"), **shape.mapping(asked, "requests")}:
        if key.startswith("nvidia.com/"):
            yield f"found the resource {key!r} beside the claim; take GPUs from one and remove the other"


def _lies_in(path: str, places: tuple[str, ...]) -> bool:
    plain = _normal(path)
    return any(plain == place or plain.startswith(f"{place}/") for place in places)


def _reaches_driver(path: str) -> bool:
    plain = _normal(path)
    above = plain if plain.endswith("/") else f"{plain}/"
    return any(plain.startswith(place) or place.startswith(above) for place in DRIVER_PATHS)


def _normal(path: str) -> str:
    return posixpath.normpath(f"/{path}").replace("//", "/")


CONTAINER_RULES: tuple[Rule, ...] = (_environment, _mounts, _security, _other_devices)
RULES: tuple[Rule, ...] = (_label, _annotations, _placement, _volumes, _containers)
