"""A kube-scheduler serves our pods and asks an extender: its configuration, the Lease, pods nobody sees."""

from typing import Any

import yaml

from vgpu.api import names, timestamps
from vgpu_cli import words
from vgpu_cli.checks.finding import Finding, Probe, fault, skipped, sound
from vgpu_cli.reading import SYSTEM
from vgpu_kube import errors
from vgpu_kube.objects import Object
from vgpu_kube.resources import CONFIGMAPS, LEASES, PODS

LEASE = "vgpu-extender"
UNSEEN_SECONDS = 30.0
"""A pod that no scheduler has looked at for so long will wait for ever."""

WIRE = (
    f"run a kube-scheduler with profile {names.SCHEDULER_NAME} and an extender for {names.SLICE_RESOURCE}, "
    f"as the chart does: kubectl -n {SYSTEM} get pods -l app.kubernetes.io/name=vgpu-scheduler"
)


async def look(probe: Probe) -> list[Finding]:
    """Whether labelled pods get to the extender."""
    return [*await _configurations(probe), await _lease(probe), await _unseen(probe)]


async def _configurations(probe: Probe) -> list[Finding]:
    """What the scheduler configurations in the platform's namespace say; nothing where there are none."""
    try:
        maps = (await probe.session.cluster.list(CONFIGMAPS, SYSTEM)).items
    except errors.Forbidden:
        return [skipped(f"the ConfigMaps of {SYSTEM} may not be read")]
    return [
        _judged(each["metadata"]["name"], _parsed(text))
        for each in maps
        for text in (each.get("data") or {}).values()
        if "KubeSchedulerConfiguration" in text
    ]


def _parsed(text: str) -> Object:
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError:
        document = None
    return document if isinstance(document, dict) else {}


def _judged(name: str, document: Object) -> Finding:
    profiles = {each.get("schedulerName") for each in document.get("profiles") or ()}
    if names.SCHEDULER_NAME not in profiles:
        return fault(f"ConfigMap {name} has no profile {names.SCHEDULER_NAME}", remedy=WIRE)
    managed: dict[str, Any] = {
        resource.get("name"): resource
        for extender in document.get("extenders") or ()
        for resource in extender.get("managedResources") or ()
    }
    if names.SLICE_RESOURCE not in managed:
        return fault(f"ConfigMap {name} has no extender for {names.SLICE_RESOURCE}", remedy=WIRE)
    if not managed[names.SLICE_RESOURCE].get("ignoredByScheduler"):
        return fault(f"ConfigMap {name} lets kube-scheduler count {names.SLICE_RESOURCE} itself", remedy=WIRE)
    return sound(f"ConfigMap {name} wires profile {names.SCHEDULER_NAME} to the extender")


async def _lease(probe: Probe) -> Finding:
    """Whether an extender holds the Lease and renews it."""
    try:
        spec = (await probe.session.cluster.get(LEASES, LEASE, SYSTEM)).get("spec") or {}
    except errors.NotFound:
        spec = {}
    except errors.Forbidden:
        return skipped(f"the Lease {LEASE} in {SYSTEM} may not be read")
    if not spec.get("holderIdentity"):
        return fault(f"no extender holds the Lease {LEASE} in {SYSTEM}", remedy=WIRE)
    silent = probe.now - timestamps.parse_time(spec["renewTime"])
    if silent > 2 * spec.get("leaseDurationSeconds", 15):
        return fault(
            f"{spec['holderIdentity']} has not renewed the Lease for {words.age(silent)}", remedy=WIRE
        )
    return sound(f"extender {spec['holderIdentity']} is active")


async def _unseen(probe: Probe) -> Finding:
    """Whether labelled pods without a gate wait for a scheduler that is not there."""
    try:
        pods = (await probe.session.cluster.list(PODS, labels=names.CLAIM_LABEL)).items
    except errors.Forbidden:
        return skipped("pods of all namespaces may not be read")
    unseen = [each for each in pods if _is_unseen(each, probe.now)]
    if unseen:
        paths = words.listed(f"{each['metadata']['namespace']}/{each['metadata']['name']}" for each in unseen)
        waiting = words.counted(len(unseen), "pod")
        return fault(f"no scheduler has looked at {waiting} for {UNSEEN_SECONDS:g} s: {paths}", remedy=WIRE)
    return sound(f"a scheduler has looked at every one of {words.counted(len(pods), 'labelled pod')}")


def _is_unseen(pod: Object, now: float) -> bool:
    spec, status = pod["spec"], pod.get("status") or {}
    if spec.get("nodeName") or spec.get("schedulingGates") or status.get("phase") in {"Succeeded", "Failed"}:
        return False
    if pod["metadata"].get("deletionTimestamp"):
        return False
    judged = [each for each in status.get("conditions") or () if each["type"] == "PodScheduled"]
    if judged and judged[0].get("reason") != "SchedulingGated":
        return False
    return now - timestamps.parse_time(pod["metadata"]["creationTimestamp"]) > UNSEEN_SECONDS
