"""VGPUNode: the model of ``crds/vgpunodes.yaml``, and the way between raw objects and ``values.Node``.

The way is hot, thousands of nodes at a start, so it reads raw dictionaries by hand; the model only explains
what was wrong where that fails.
"""

import sys
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from vgpu import values
from vgpu.api import amounts, constraints, metadata, names, quantity, schema, timestamps
from vgpu.api.errors import InvalidObject

Raw = Mapping[str, Any]


class ClaimRef(schema.Model):
    """The claim that a slice belongs to."""

    namespace: schema.Name
    name: schema.Name
    uid: schema.UID


class PodRef(schema.Model):
    """A pod that lives in a slice."""

    name: schema.LongName
    uid: schema.UID
    cpu_milli: schema.Count | None = None
    memory: schema.Memory | None = None


class Slice(schema.Model):
    """One entry of the ledger."""

    pool_name: schema.Name
    claim: ClaimRef
    pods: Annotated[tuple[PodRef, ...], Field(max_length=256)]
    device_uuids: Annotated[
        tuple[schema.DeviceUUID, ...], Field(min_length=1, max_length=64, alias="deviceUUIDs")
    ]
    requests: schema.Amounts
    allocated: schema.Amounts
    limits: schema.Amounts
    priority: schema.Priority = 0
    held_memory: schema.Memory
    revision: schema.Count
    wanted: schema.Amounts | None = None
    exclusive: schema.Bool | None = None
    exclusion_group: constraints.GroupName | None = None


class Spec(schema.Model):
    """The ledger of a node."""

    revision: schema.Count = 0
    cordoned_devices: Annotated[tuple[schema.DeviceUUID, ...], Field(max_length=64)] = ()
    slices: Annotated[Mapping[str, Slice], Field(max_length=1024)] = {}


class Link(schema.Model):
    """The best way from one GPU to another."""

    uuid: schema.DeviceUUID
    type: Literal["NVLink", "PCIeSwitch", "HostBridge", "NUMANode", "Machine"]
    lane_count: Annotated[schema.Int, Field(ge=0, le=64)] = 0


class Isolation(schema.Model):
    """What a device can do to keep slices apart."""

    memory: Literal["Hard", "None"] = "None"
    compute: Literal["TimeShare", "Partition", "None"] = "None"
    resize: Literal["Live", "Restart", "None"] = "None"


class Device(schema.Model):
    """One GPU as the agent reports it."""

    uuid: schema.DeviceUUID
    index: Annotated[schema.Int, Field(ge=0, le=1023)]
    vendor: schema.Name = "nvidia"
    model: schema.DeviceUUID
    memory: schema.Memory
    numa_node: Annotated[schema.Int, Field(ge=0, le=1023)] | None = None
    healthy: schema.Bool = True
    links: Annotated[tuple[Link, ...], Field(max_length=64)] = ()
    isolation: Isolation = Isolation()


class Allocatable(schema.Model):
    """What the node offers all its pods together, besides GPUs."""

    cpu_milli: schema.Count
    memory: schema.Memory


class Report(schema.Model):
    """What is in force for one slice."""

    memory: schema.Memory
    compute_percent: schema.Percent
    revision: schema.Count
    state: Literal["Applied", "Shrinking", "Refused"] = "Applied"
    message: Annotated[str, StringConstraints(max_length=1024)] = ""
    pressure: Annotated[tuple[Literal["Throttled", "Queued", "MemoryRefused"], ...], Field(max_length=3)] = ()


class Escape(schema.Model):
    """What one pod was found to do outside of its slice."""

    device_uuid: Annotated[schema.DeviceUUID, Field(alias="deviceUUID")]
    message: Annotated[str, StringConstraints(max_length=1024)] = ""


class Status(schema.Model):
    """The facts that the agent reports."""

    devices: Annotated[tuple[Device, ...], Field(max_length=64)] = ()
    allocatable: Allocatable | None = None
    slices: Annotated[Mapping[str, Report], Field(max_length=1024)] = {}
    escapes: Annotated[Mapping[str, Escape], Field(max_length=256)] = {}
    heartbeat_time: (
        Annotated[
            str,
            StringConstraints(
                max_length=32,
                pattern=r"^2[0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,9})?Z$",
            ),
        ]
        | None
    ) = None


def to_values(raw: Raw) -> values.Node:
    """The node that a VGPUNode object describes. Raises InvalidObject for what its schema refuses."""
    try:
        return _node(raw)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _explain(raw, error) from error


def slice_to_json(entry: values.Slice) -> dict[str, Any]:
    """What stands under spec.slices for this slice, by its id."""
    written = {
        "poolName": entry.pool_name,
        "claim": {"namespace": entry.claim.namespace, "name": entry.claim.name, "uid": entry.claim.uid},
        "pods": [_pod_to_json(pod) for pod in entry.pods],
        "deviceUUIDs": list(entry.device_uuids),
        "requests": amounts.to_json(entry.requests),
        "allocated": amounts.to_json(entry.allocated),
        "limits": amounts.to_json(entry.limits),
        "priority": entry.priority,
        "heldMemory": quantity.format_bytes(entry.held_memory_bytes),
        "revision": entry.revision,
    }
    if entry.wanted is not None:
        written["wanted"] = amounts.to_json(entry.wanted)
    if entry.exclusive:
        written["exclusive"] = True
    if entry.exclusion_group is not None:
        written["exclusionGroup"] = entry.exclusion_group
    return written


def _pod_to_json(pod: values.PodRef) -> dict[str, Any]:
    written: dict[str, Any] = {"name": pod.name, "uid": pod.uid}
    if pod.cpu_milli:
        written["cpuMilli"] = pod.cpu_milli
    if pod.memory_bytes:
        written["memory"] = quantity.format_bytes(pod.memory_bytes)
    return written


def enforced_to_json(report: values.Enforced) -> dict[str, Any]:
    """What stands under status.slices for this report, by the slice's id."""
    return {
        "memory": quantity.format_bytes(report.memory_bytes),
        "computePercent": report.compute_percent,
        "revision": report.revision,
        "state": report.state.value,
        "message": report.message,
    }


def escape_to_json(escape: values.Escape) -> dict[str, Any]:
    """What stands under status.escapes for this escape, by the pod's UID."""
    return {"deviceUUID": escape.device_uuid, "message": escape.message}


def device_to_json(device: values.Device) -> dict[str, Any]:
    """One entry of status.devices, without links and isolation."""
    written = {
        "uuid": device.uuid,
        "index": device.index,
        "vendor": device.vendor,
        "model": device.model,
        "memory": quantity.format_bytes(device.memory_bytes),
        "healthy": device.healthy,
    }
    return written if device.numa_node is None else written | {"numaNode": device.numa_node}


def _node(raw: Raw) -> values.Node:
    about, spec, status = raw["metadata"], raw.get("spec", {}), raw.get("status", {})
    heartbeat, offered = status.get("heartbeatTime"), status.get("allocatable")
    return values.Node(
        name=_text(about["name"]),
        labels=dict(about.get("labels", {})),
        revision=_integer(spec.get("revision", 0)),
        cordoned_devices=frozenset(spec.get("cordonedDevices", ())),
        slices={slice_id: _slice(slice_id, entry) for slice_id, entry in spec.get("slices", {}).items()},
        devices=tuple([_device(entry) for entry in status.get("devices", ())]),
        enforced={slice_id: _enforced(entry) for slice_id, entry in status.get("slices", {}).items()},
        escapes={pod_uid: _escape(entry) for pod_uid, entry in status.get("escapes", {}).items()},
        heartbeat_at=None if heartbeat is None else timestamps.parse_time(heartbeat),
        cpu_milli=None if offered is None else _integer(offered["cpuMilli"]),
        memory_bytes=None if offered is None else quantity.parse_bytes(offered["memory"]),
    )


def _slice(slice_id: str, entry: Raw) -> values.Slice:
    claim, wanted = entry["claim"], entry.get("wanted")
    return values.Slice(
        id=slice_id,
        pool_name=_text(entry["poolName"]),
        claim=values.ClaimRef(
            namespace=_text(claim["namespace"]), name=_text(claim["name"]), uid=_text(claim["uid"])
        ),
        pods=tuple([_pod(pod) for pod in entry["pods"]]),
        device_uuids=tuple([_text(uuid) for uuid in entry["deviceUUIDs"]]),
        requests=amounts.from_json(entry["requests"]),
        allocated=amounts.from_json(entry["allocated"]),
        limits=amounts.from_json(entry["limits"]),
        held_memory_bytes=quantity.parse_bytes(entry["heldMemory"]),
        revision=_integer(entry["revision"]),
        priority=_integer(entry.get("priority", 0)),
        wanted=None if wanted is None else amounts.from_json(wanted),
        exclusive=_truth(entry.get("exclusive", False)),
        exclusion_group=entry.get("exclusionGroup"),
    )


def _pod(entry: Raw) -> values.PodRef:
    return values.PodRef(
        name=_text(entry["name"]),
        uid=_text(entry["uid"]),
        cpu_milli=_integer(entry.get("cpuMilli", 0)),
        memory_bytes=quantity.parse_bytes(entry.get("memory", "0")),
    )


def _enforced(entry: Raw) -> values.Enforced:
    return values.Enforced(
        memory_bytes=quantity.parse_bytes(entry["memory"]),
        compute_percent=_integer(entry["computePercent"]),
        revision=_integer(entry["revision"]),
        state=_STATES[entry.get("state", "Applied")],
        message=_text(entry.get("message", "")),
        pressure=frozenset([_LACKS[lack] for lack in entry.get("pressure", ())]),
    )


def _escape(entry: Raw) -> values.Escape:
    return values.Escape(
        device_uuid=_text(entry["deviceUUID"]),
        message=_text(entry.get("message", "")),
    )


def _device(entry: Raw) -> values.Device:
    numa_node = entry.get("numaNode")
    return values.Device(
        uuid=_text(entry["uuid"]),
        index=_integer(entry["index"]),
        model=_text(entry["model"]),
        memory_bytes=quantity.parse_bytes(entry["memory"]),
        vendor=_text(entry.get("vendor", "nvidia")),
        numa_node=None if numa_node is None else _integer(numa_node),
        healthy=_truth(entry.get("healthy", True)),
        links=tuple([_link(link) for link in entry.get("links", ())]),
    )


def _link(entry: Raw) -> values.Link:
    return values.Link(
        uuid=sys.intern(_text(entry["uuid"])),  # one text for all that link to it
        kind=_LINKS[entry["type"]],
        lanes=_integer(entry.get("laneCount", 0)),
    )


_LINKS = {kind.value: kind for kind in values.LinkKind}
_STATES = {state.value: state for state in values.EnforcementState}
_LACKS = {lack.value: lack for lack in values.Lack}


def _text(found: Any) -> str:  # noqa: ANN401 - raw JSON, checked here
    if type(found) is not str:
        raise TypeError(f"expected a text, found {found!r}; put it in quotes")
    return found


def _integer(found: Any) -> int:  # noqa: ANN401 - raw JSON, checked here
    if type(found) is not int:
        raise TypeError(f"expected an integer, found {found!r}; write it without a point")
    return found


def _truth(found: Any) -> bool:  # noqa: ANN401 - raw JSON, checked here
    if type(found) is not bool:
        raise TypeError(f"expected true or false, found {found!r}; write one of them")
    return found


def _explain(raw: Raw, error: Exception) -> InvalidObject:
    """The same failure in the words of the schema, or in its own where the schema finds nothing wrong."""
    try:
        about = metadata.read(raw, kind=names.NODE_KIND)
        schema.read(Spec, {"spec": {}, **raw}, field="spec", kind=names.NODE_KIND)
        schema.read(Status, {"status": {}, **raw}, field="status", kind=names.NODE_KIND)
    except InvalidObject as explained:
        return explained
    return InvalidObject(
        kind=names.NODE_KIND, name=about.name, field="object", expected="a VGPUNode", found=str(error)
    )
