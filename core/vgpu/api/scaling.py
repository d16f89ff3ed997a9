"""``spec.scaling`` of a VGPUClaim: its models, and its way to ``values.Scaling``."""

import math
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints

from vgpu import values
from vgpu.api import schema


def _decimal(text: str) -> str:
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise ValueError('a decimal number in quotes, such as "200" or "0.25"')
    return text


Replicas = Annotated[schema.Int, Field(ge=1, le=10_000)]
ReplicasOrNone = Annotated[schema.Int, Field(ge=0, le=10_000)]
UsePercent = Annotated[schema.Int, Field(ge=1, le=100)]
Maximum = Annotated[str, StringConstraints(max_length=32), AfterValidator(_decimal)]


class TargetRef(schema.Model):
    """What is scaled, in the claim's namespace."""

    api_version: Annotated[str, StringConstraints(min_length=1, max_length=317)]
    kind: schema.Name
    name: schema.LongName


class Workload(schema.Model):
    """What the service is asked to do, in units of work per second."""

    query: schema.Query


class Wake(schema.Model):
    """What tells of work while there is no replica."""

    query: schema.Query


class Idle(schema.Model):
    """When a service counts as idle, and what wakes it."""

    after_seconds: Annotated[schema.Int, Field(ge=1, le=604_800)]
    wake: Wake | None = None


class Objective(schema.Model):
    """What must hold; which fields it has depends on its type."""

    type: Literal["Utilization", "Prometheus"]
    resource: Literal["memory", "computePercent"] | None = None
    average_percent: UsePercent | None = None
    name: schema.Name | None = None
    query: schema.Query | None = None
    maximum: Maximum | None = None


class ScaleDown(schema.Model):
    """How fast replicas are removed."""

    stabilization_window_seconds: Annotated[schema.Int, Field(ge=0, le=3600)] = 300


class Behavior(schema.Model):
    """How fast scaling acts."""

    scale_down: ScaleDown = ScaleDown()


class Scaling(schema.Model):
    """How replicas follow load."""

    target_ref: TargetRef
    min_replicas: ReplicasOrNone = 1
    max_replicas: Replicas
    replicas: ReplicasOrNone | None = None
    idle: Idle | None = None
    workload: Workload | None = None
    objectives: Annotated[tuple[Objective, ...], Field(max_length=8)] = ()
    behavior: Behavior = Behavior()


def to_values(scaling: Scaling) -> values.Scaling:
    """The value of a scaling; CEL has seen to it that every objective has what its type needs."""
    target, idle = scaling.target_ref, scaling.idle
    return values.Scaling(
        target=values.Target(api_version=target.api_version, kind=target.kind, name=target.name),
        min_replicas=scaling.min_replicas,
        max_replicas=scaling.max_replicas,
        replicas=scaling.replicas,
        workload_query=scaling.workload.query if scaling.workload else None,
        use_objectives=tuple(
            values.UseObjective(resource=values.Resource(each.resource), average_percent=each.average_percent)
            for each in scaling.objectives
            if each.resource and each.average_percent
        ),
        query_objectives=tuple(
            values.QueryObjective(name=each.name, query=each.query, maximum=float(each.maximum))
            for each in scaling.objectives
            if each.name and each.query and each.maximum
        ),
        stabilization_seconds=scaling.behavior.scale_down.stabilization_window_seconds,
        idle_seconds=idle.after_seconds if idle else None,
        wake_query=idle.wake.query if idle and idle.wake else None,
    )
