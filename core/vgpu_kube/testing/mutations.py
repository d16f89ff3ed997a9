"""What a request makes of an object, before the rules of its kind have their say."""

import copy
from collections.abc import Mapping
from typing import Any

import jsonpatch
import jsonpointer

from vgpu_kube import errors, objects
from vgpu_kube.objects import Object
from vgpu_kube.protocol import Ops


def patched(raw: Object, ops: Ops) -> Object:
    """The object after a JSON patch; raises Conflict where an operation does not apply."""
    try:
        patched: Object = jsonpatch.JsonPatch([*ops]).apply(raw)
    except jsonpatch.InvalidJsonPatch as error:
        raise errors.KubeError(400, "BadRequest", f"error decoding patch: {error}") from None
    except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException):
        raise errors.of_json_patch(errors.Invalid(422, "Invalid", errors.PATCH_NOT_APPLICABLE)) from None
    return patched


def merged(raw: Any, patch: Mapping[str, Any]) -> Any:  # noqa: ANN401 -- any JSON value
    """A merge patch as RFC 7386 has it."""
    whole = raw if isinstance(raw, dict) else {}
    for name, value in patch.items():
        if value is None:
            whole.pop(name, None)
        else:
            nested = isinstance(value, Mapping)
            whole[name] = merged(whole.get(name), value) if nested else copy.deepcopy(value)
    return whole


def scale(raw: Object) -> Object:
    """The scale subresource of an object with replicas."""
    metadata = {name: raw["metadata"][name] for name in ("name", "namespace", "uid", "resourceVersion")}
    replicas = raw.get("spec", {}).get("replicas", 1)
    status = {"replicas": raw.get("status", {}).get("replicas", 0)}
    return {
        "apiVersion": "autoscaling/v1",
        "kind": "Scale",
        "metadata": metadata,
        "spec": {"replicas": replicas},
        "status": status,
    }


def bound(raw: Object, node: str, annotations: Mapping[str, str]) -> Object:
    """The pod after its binding, which clears the nomination."""
    raw.setdefault("spec", {})["nodeName"] = node
    raw["metadata"].setdefault("annotations", {}).update(annotations)
    raw.setdefault("status", {}).pop("nominatedNodeName", None)
    return raw


def unbindable(raw: Object, pod_uid: str) -> str | None:
    """Why a pod cannot be bound, None where it can."""
    name, spec = raw["metadata"]["name"], raw.get("spec", {})
    if objects.uid(raw) != pod_uid:
        return f"Precondition failed: UID in precondition: {pod_uid}, UID in object meta: {objects.uid(raw)}"
    if "deletionTimestamp" in raw["metadata"]:
        return f"pod {name} is being deleted, cannot be assigned to a host"
    if spec.get("nodeName"):
        return f'pod {name} is already assigned to node "{spec["nodeName"]}"'
    return f"pod {name} has non-empty .spec.schedulingGates" if spec.get("schedulingGates") else None
