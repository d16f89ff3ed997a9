"""A pod explained: whose slice it has or waits for, and what the webhook added to it."""

from dataclasses import dataclass
from typing import Any

from vgpu.api import names
from vgpu_cli import advice, occurrences
from vgpu_cli.cluster import Session
from vgpu_cli.explaining import claim
from vgpu_cli.faults import Fault
from vgpu_kube import errors
from vgpu_kube.objects import Object
from vgpu_kube.resources import PODS


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """Everything that is said of a pod; ``claim`` is None where the claim it names is not there."""

    path: str
    answer: str
    advice: str | None
    claim_name: str
    node: str | None
    devices: tuple[str, ...]
    slice: str | None
    added: tuple[str, ...]
    claim: claim.Story | None
    events: tuple[occurrences.Occurrence, ...]


async def story(session: Session, name: str) -> Story:
    """The story of a pod in the session's namespace. Raises Fault where it has nothing to do with us."""
    pod = await session.cluster.get(PODS, name, session.namespace)
    claim_name = (pod["metadata"].get("labels") or {}).get(names.CLAIM_LABEL)
    if claim_name is None:
        raise Fault(f"expected the label {names.CLAIM_LABEL} on pod {name}, found none: it has no slice")
    try:
        its_claim = await claim.story(session, claim_name)
    except errors.NotFound:
        its_claim = None
    events = await occurrences.of(session.cluster, session.namespace, name)
    return told(pod, claim_name, its_claim, events)


def told(
    pod: Object, claim_name: str, its_claim: claim.Story | None, events: list[occurrences.Occurrence]
) -> Story:
    """The story that a pod, its claim and the Events tell."""
    metadata = pod["metadata"]
    annotations = metadata.get("annotations") or {}
    answer, helps = _answer(pod, claim_name, its_claim)
    devices = annotations.get(names.DEVICES_ANNOTATION, "")
    return Story(
        path=f"{metadata['namespace']}/{metadata['name']}",
        answer=answer,
        advice=helps,
        claim_name=claim_name,
        node=pod["spec"].get("nodeName"),
        devices=tuple(each for each in devices.split(",") if each),
        slice=annotations.get(names.SLICE_ANNOTATION),
        added=tuple(added(pod)),
        claim=its_claim,
        events=tuple(events),
    )


def _answer(pod: Object, claim_name: str, its_claim: claim.Story | None) -> tuple[str, str | None]:
    """One sentence on how the pod is, and what helps."""
    spec, status = pod["spec"], pod.get("status") or {}
    if its_claim is None:
        return f"waits: there is no claim {claim_name}", "create the claim, or correct the pod's label"
    if spec.get("nodeName"):
        return f"{status.get('phase', 'Pending')} on {spec['nodeName']} in a slice of {its_claim.path}", None
    if spec.get("schedulerName") != names.SCHEDULER_NAME:
        scheduler = spec.get("schedulerName", "default-scheduler")
        text = f"waits for {scheduler}, which knows nothing of slices: the webhook did not see this pod"
        return text, "delete it and let it be created anew; then: kubectl vgpu check"
    if its_claim.said.status == "True":
        return "waits for kube-scheduler", None
    helps = advice.for_reason(its_claim.said.reason)
    return f"waits: {its_claim.said.reason}: {its_claim.said.message}", helps


def added(pod: Object) -> list[str]:
    """What the webhook added to the pod as it was written, in words."""
    spec = pod["spec"]
    containers = [*(spec.get("initContainers") or ()), *spec["containers"]]
    found = []
    if spec.get("schedulerName") == names.SCHEDULER_NAME:
        found.append(f"schedulerName {names.SCHEDULER_NAME}, beside which the extender places it")
    if any(each.get("name") == names.QUEUE_GATE for each in spec.get("schedulingGates") or ()):
        found.append(f"scheduling gate {names.QUEUE_GATE}: it is in the queue until it has a place")
    for each in spec["containers"]:
        asked = (each.get("resources") or {}).get("requests") or {}
        ours = {key: amount for key, amount in asked.items() if key.startswith(f"{names.GROUP}/")}
        if ours:
            amounts = ", ".join(f"{key} {amount}" for key, amount in sorted(ours.items()))
            found.append(f"requests of container {each['name']}: {amounts}")
    found += _volumes(spec, containers)
    carrying = [each["name"] for each in containers if _names_devices(each)]
    if carrying:
        found.append(
            f"NVIDIA_VISIBLE_DEVICES from the annotation {names.DEVICES_ANNOTATION}: {', '.join(carrying)}"
        )
    return found


def _volumes(spec: Object, containers: list[Object]) -> list[str]:
    """The volume with shim and limits, and where each container sees it."""
    ours = [
        each["name"]
        for each in spec.get("volumes") or ()
        if (each.get("csi") or {}).get("driver") == names.CSI_DRIVER
    ]
    found = [
        f"volume {name} of the CSI driver {names.CSI_DRIVER}, with the shim and its limits" for name in ours
    ]
    for each in containers:
        paths = [at["mountPath"] for at in each.get("volumeMounts") or () if at["name"] in ours]
        if paths:
            found.append(f"mounts in container {each['name']}: {', '.join(paths)}")
    return found


def _names_devices(container: Object) -> bool:
    return any(
        names.DEVICES_ANNOTATION in ((each.get("valueFrom") or {}).get("fieldRef") or {}).get("fieldPath", "")
        for each in container.get("env") or ()
    )


def to_json(found: Story) -> dict[str, Any]:
    """The story for programs."""
    namespace, name = found.path.split("/")
    return {
        "namespace": namespace,
        "name": name,
        "answer": found.answer,
        "advice": found.advice,
        "claimName": found.claim_name,
        "node": found.node,
        "devices": list(found.devices),
        "slice": found.slice,
        "added": list(found.added),
        "claim": None if found.claim is None else claim.to_json(found.claim),
    }
