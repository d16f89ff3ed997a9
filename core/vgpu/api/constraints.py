"""What a VGPUClaim demands of its devices and their company, as models and as ``values.Constraints``."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from vgpu import values
from vgpu.api import schema

GroupName = Annotated[
    str, StringConstraints(min_length=1, max_length=63, pattern="^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")
]


class Expression(schema.Model):
    """One requirement on each device."""

    key: Literal["model", "uuid"]
    operator: Literal["In", "NotIn"]
    values: Annotated[tuple[schema.DeviceUUID, ...], Field(min_length=1, max_length=32)]


class DeviceSelector(schema.Model):
    """Which devices of the pool the claim accepts."""

    match_expressions: Annotated[tuple[Expression, ...], Field(min_length=1, max_length=8)]


class Topology(schema.Model):
    """How several GPUs of a pod lie to each other."""

    numa: Literal["Preferred", "Required"] = "Preferred"


def to_values(
    *, selector: DeviceSelector | None, exclusive: bool, exclusion_group: str | None, topology: Topology
) -> values.Constraints:
    """The constraints that these fields of a claim's spec describe."""
    expressions = selector.match_expressions if selector else ()
    return values.Constraints(
        devices=tuple(
            values.Expression(key=each.key, operator=values.Operator(each.operator), values=each.values)
            for each in expressions
        ),
        exclusive=exclusive,
        exclusion_group=exclusion_group,
        numa=values.NumaAlignment(topology.numa),
    )
