"""What the API server does to an object that is created, changed or deleted, by its kind."""

import copy
import re
from datetime import datetime
from typing import Any

from vgpu_kube import errors
from vgpu_kube.objects import Object
from vgpu_kube.resources import CONFIGMAPS, CSI_DRIVERS, EVENTS, LEASES, PODS, Resource

WITHOUT_STATUS = frozenset({CONFIGMAPS, CSI_DRIVERS, EVENTS, LEASES})
"""Kinds without a status subresource."""

_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
_OWNED_BY_SERVER = (
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
)
_IMMUTABLE = ("name", "namespace", "uid")


def timestamp(moment: datetime) -> str:
    """A moment as metadata carries it, in whole seconds."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def born(resource: Resource, body: Object, namespace: str | None, *, number: int, now: datetime) -> Object:
    """The object that a creation stores: identity added, a status of the writer's ignored."""
    raw: Object = {"apiVersion": resource.api_version, "kind": resource.kind, **copy.deepcopy(body)}
    metadata = raw.setdefault("metadata", {})
    if prefix := metadata.get("generateName"):
        metadata.setdefault("name", f"{prefix}{number:05x}")
    if resource.namespaced:
        metadata["namespace"] = namespace or metadata.get("namespace") or "default"
    _check_name(resource, metadata)
    metadata["uid"] = f"00000000-0000-4000-8000-{number:012x}"
    metadata["creationTimestamp"] = timestamp(now)
    metadata["generation"] = 1
    if resource == PODS:
        raw["status"] = {"phase": "Pending"}
    elif resource.group and resource not in WITHOUT_STATUS:
        raw.pop("status", None)
    return raw


def _check_name(resource: Resource, metadata: dict[str, Any]) -> None:
    name = metadata.get("name") or ""
    if len(name) > 253 or not _NAME.fullmatch(name):
        raise invalid(
            resource, name, "metadata.name: expected a lower-case DNS subdomain of at most 253 characters"
        )
    _check_labels(resource, metadata)


def _check_labels(resource: Resource, metadata: dict[str, Any]) -> None:
    for label, value in (metadata.get("labels") or {}).items():
        if not _LABEL_VALUE.fullmatch(value):
            why = f"metadata.labels: {label}={value!r}: expected at most 63 letters, digits, '-', '_' or '.'"
            raise invalid(resource, metadata["name"], why)


def changed(resource: Resource, old: Object, new: Object, subresource: str | None) -> Object:
    """What a write of ``new`` stores over ``old``: each side of the status subresource keeps to its own."""
    _check_metadata(resource, old, new)
    for name in _OWNED_BY_SERVER:
        _restore(new["metadata"], old["metadata"], name)
    if subresource == "status":
        _keep_all_but_status(resource, old, new)
    elif resource not in WITHOUT_STATUS:
        _restore(new, old, "status")
    if new.get("spec") != old.get("spec"):
        new["metadata"]["generation"] = old["metadata"].get("generation", 1) + 1
    return new


def _check_metadata(resource: Resource, old: Object, new: Object) -> None:
    name = old["metadata"]["name"]
    if (version := new["metadata"].get("resourceVersion")) and version != old["metadata"]["resourceVersion"]:
        raise conflict(
            resource, name, "the object has been modified; please apply your changes to the latest version"
        )
    _check_labels(resource, new["metadata"])
    for member in _IMMUTABLE:
        if new["metadata"].get(member) != old["metadata"].get(member):
            raise invalid(resource, name, f"metadata.{member}: field is immutable")


def _keep_all_but_status(resource: Resource, old: Object, new: Object) -> None:
    """Core kinds take metadata through their status too (one of the doors to a pod's annotations)."""
    for member in old.keys() | new.keys():
        if member != "status" and not (member == "metadata" and not resource.group):
            _restore(new, old, member)


def _restore(new: dict[str, Any], old: dict[str, Any], member: str) -> None:
    if member in old:
        new[member] = copy.deepcopy(old[member])
    else:
        new.pop(member, None)


def lingers(resource: Resource, raw: Object, grace_seconds: int | None) -> bool:
    """True where deletion only begins: finalizers are left, or a node has to stop the pod first."""
    if raw["metadata"].get("finalizers"):
        return True
    if resource != PODS or grace_seconds == 0:
        return False
    running = raw.get("status", {}).get("phase") not in {"Succeeded", "Failed"}
    return bool(raw.get("spec", {}).get("nodeName")) and running


def not_found(resource: Resource, name: str) -> errors.NotFound:
    """What the API server says of an object that is not there."""
    return errors.NotFound(404, "NotFound", f'{resource} "{name}" not found')


def conflict(resource: Resource, name: str, why: str) -> errors.Conflict:
    """What it says of a write that expected something else."""
    return errors.Conflict(409, "Conflict", f'Operation cannot be fulfilled on {resource} "{name}": {why}')


def invalid(resource: Resource, name: str, why: str) -> errors.Invalid:
    """What it says of an object that breaks a rule."""
    return errors.Invalid(422, "Invalid", f'{resource.kind} "{name}" is invalid: {why}')
