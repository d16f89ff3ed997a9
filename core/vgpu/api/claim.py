"""VGPUClaim: the model of ``crds/vgpuclaims.yaml`` and its way to ``values.Claim``."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StringConstraints

from vgpu import values
from vgpu.api import constraints, metadata, names, quantity, schema
from vgpu.api import scaling as scaling_api
from vgpu.api.errors import InvalidObject

_PEBI = 1024**5
VLLM_PORT = 8000  # where vLLM serves its sleep mode unless told otherwise


def _positive(text: str) -> str:
    return schema.written_bytes(text, at_least=1, at_most=_PEBI)


SliceMemory = Annotated[schema.WrittenMemory, AfterValidator(_positive)]
SlicePercent = Annotated[schema.Int, Field(ge=1, le=100)]


class Requests(schema.Model):
    """The floor, per GPU."""

    memory: SliceMemory
    compute_percent: SlicePercent


class Limits(schema.Model):
    """The ceiling, per GPU; what is absent equals the floor."""

    memory: SliceMemory | None = None
    compute_percent: SlicePercent | None = None


class Resources(schema.Model):
    """The floor and the ceiling of each slice."""

    requests: Requests
    limits: Limits | None = None


class Elasticity(schema.Model):
    """Whether slices are resized."""

    mode: Literal["Auto", "Fixed"] = "Auto"


class Gang(schema.Model):
    """Pods that start together."""

    min_pods: Annotated[schema.Int, Field(ge=1, le=1000)]


class Cooperation(schema.Model):
    """How the application gives memory back."""

    type: Literal["None", "LimitWatch", "HTTPSleep"] = "None"
    port: Annotated[schema.Int, Field(ge=1, le=65_535)] | None = None


class Spec(schema.Model):
    """What the team wishes."""

    pool_name: schema.Name | None = None
    device_count: Annotated[schema.Int, Field(ge=1, le=64)] = 1
    allocation_mode: Literal["PerPod", "Shared"] = "PerPod"
    resources: Resources
    priority: schema.Priority = 0
    device_selector: constraints.DeviceSelector | None = None
    exclusive: schema.Bool = False
    exclusion_group: constraints.GroupName | None = None
    topology: constraints.Topology = constraints.Topology()
    gang: Gang | None = None
    elasticity: Elasticity = Elasticity()
    cooperation: Cooperation = Cooperation()
    scaling: scaling_api.Scaling | None = None


class ReplicaCounts(schema.Model):
    """Replicas that the target has, and that the loop asks for."""

    current: schema.Count
    desired: schema.Count


class Summary(schema.Model):
    """The claim in a few words, for the columns of kubectl."""

    floor: Annotated[str, StringConstraints(max_length=64)] | None = None
    ceiling: Annotated[str, StringConstraints(max_length=64)] | None = None


class Allocation(schema.Model):
    """The slice of one pod, per GPU."""

    pod_name: schema.LongName
    node_name: schema.LongName
    device_uuids: Annotated[tuple[schema.DeviceUUID, ...], Field(max_length=64, alias="deviceUUIDs")]
    memory: schema.Memory
    compute_percent: schema.Percent
    enforced: schema.Amounts | None = None


class Decision(schema.Model):
    """The last change that the elastic loop made, or could not make."""

    time: schema.Time
    action: Literal["Grow", "Shrink", "ScaleUp", "ScaleDown", "Sleep", "Wake"]
    reason: schema.Word
    message: Annotated[str, StringConstraints(max_length=1024)]


class WaitingNodes(schema.Model):
    """Nodes that lack the same thing."""

    count: schema.Count
    message: Annotated[str, StringConstraints(max_length=256)]


class Change(schema.Model):
    """One change; which fields it has depends on its type."""

    type: Literal[
        "LessMemory", "LessCompute", "FewerDevices", "MoreQuota", "Uncordon", "ReturnShares", "MovePods"
    ]
    memory: schema.Memory | None = None
    compute_percent: schema.Count | None = None
    device_count: schema.Count | None = None
    namespace: schema.Name | None = None
    node_name: schema.LongName | None = None
    device_uuids: Annotated[
        tuple[schema.DeviceUUID, ...] | None, Field(max_length=64, alias="deviceUUIDs")
    ] = None
    slice_count: schema.Count | None = None
    pod_count: schema.Count | None = None
    pod_names: Annotated[tuple[schema.LongName, ...], Field(max_length=16)] | None = None


class Suggestion(schema.Model):
    """Changes that suffice together."""

    message: Annotated[str, StringConstraints(max_length=1024)]
    changes: Annotated[tuple[Change, ...], Field(max_length=16)]


class Waiting(schema.Model):
    """Why the oldest waiting pod waits, and what would let it in."""

    pod_name: schema.LongName
    reason: schema.Word
    nodes: Annotated[tuple[WaitingNodes, ...], Field(max_length=16)] | None = None
    suggestions: Annotated[tuple[Suggestion, ...], Field(max_length=8)] | None = None
    progress: Annotated[str, StringConstraints(max_length=1024)] | None = None


class Status(schema.Model):
    """What the platform did and sees."""

    pod_count: schema.Count | None = None
    replicas: ReplicaCounts | None = None
    selector: Annotated[str, StringConstraints(max_length=128)] | None = None
    allocated: schema.TotalAmounts | None = None
    summary: Summary | None = None
    allocations: Annotated[tuple[Allocation, ...], Field(max_length=256)] | None = None
    waiting: Waiting | None = None
    last_decision: Decision | None = None
    conditions: schema.Conditions | None = None


def to_values(raw: Mapping[str, Any]) -> values.Claim:
    """The claim that a VGPUClaim object describes. Raises InvalidObject for what its schema refuses."""
    about = metadata.read(raw, kind=names.CLAIM_KIND)
    spec = schema.read(Spec, raw, field="spec", kind=names.CLAIM_KIND)
    requests = _floor(spec.resources.requests)
    limits = _ceiling(spec.resources.limits or Limits(), floor=requests)
    if not limits.covers(requests):
        raise InvalidObject(
            kind=names.CLAIM_KIND,
            name=about.name,
            field="spec.resources.limits",
            expected=f"at least {_in_words(requests)}",
            found=_in_words(limits),
        )
    return values.Claim(
        ref=values.ClaimRef(namespace=about.namespace, name=about.name, uid=about.uid),
        pool_name=spec.pool_name,
        requests=requests,
        limits=limits,
        device_count=spec.device_count,
        mode=values.AllocationMode(spec.allocation_mode),
        priority=spec.priority,
        constraints=constraints.to_values(
            selector=spec.device_selector,
            exclusive=spec.exclusive,
            exclusion_group=spec.exclusion_group,
            topology=spec.topology,
        ),
        gang_pods=spec.gang.min_pods if spec.gang else 1,
        elasticity=values.ElasticityMode(spec.elasticity.mode),
        sleep_port=_sleep_port(spec.cooperation),
        scaling=None if spec.scaling is None else scaling_api.to_values(spec.scaling),
    )


def _sleep_port(cooperation: Cooperation) -> int | None:
    return (cooperation.port or VLLM_PORT) if cooperation.type == "HTTPSleep" else None


def _floor(requests: Requests) -> values.Amounts:
    return values.Amounts(
        memory_bytes=quantity.parse_bytes(requests.memory), compute_percent=requests.compute_percent
    )


def _ceiling(limits: Limits, *, floor: values.Amounts) -> values.Amounts:
    memory_bytes = floor.memory_bytes if limits.memory is None else quantity.parse_bytes(limits.memory)
    compute_percent = floor.compute_percent if limits.compute_percent is None else limits.compute_percent
    return values.Amounts(memory_bytes=memory_bytes, compute_percent=compute_percent)


def summary_to_json(claim: values.Claim) -> dict[str, str]:
    """What stands in status.summary: floor and ceiling per GPU, such as ``16Gi/25%``."""
    return {"floor": _in_words(claim.requests), "ceiling": _in_words(claim.limits)}


def _in_words(amounts: values.Amounts) -> str:
    return f"{quantity.format_bytes(amounts.memory_bytes)}/{amounts.compute_percent}%"
