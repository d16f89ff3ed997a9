"""What the models of the three kinds share: frozen, camelCase outside, bounds as in ``crds/``, clear errors.

No field of a single kind lives here.
"""

from collections.abc import Mapping
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, Strict, StringConstraints, ValidationError
from pydantic.alias_generators import to_camel

from vgpu.api import quantity
from vgpu.api.errors import InvalidObject

Int = Annotated[int, Strict()]
Bool = Annotated[bool, Strict()]
Count = Annotated[Int, Field(ge=0)]
Percent = Annotated[Int, Field(ge=0, le=100)]
Priority = Annotated[Int, Field(ge=-1_000_000_000, le=1_000_000_000)]

Name = Annotated[str, StringConstraints(min_length=1, max_length=63)]
LongName = Annotated[str, StringConstraints(min_length=1, max_length=253)]
UID = Annotated[str, StringConstraints(min_length=1, max_length=64)]
DeviceUUID = Annotated[str, StringConstraints(min_length=1, max_length=128)]
Word = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Time = Annotated[str, StringConstraints(max_length=64)]
Query = Annotated[str, StringConstraints(min_length=1, max_length=4096)]

# As people write it; CEL holds its form, in words, where the pattern would only show a pattern.
WrittenMemory = Annotated[str, StringConstraints(max_length=24)]
# As the system writes it.
Memory = Annotated[
    str, StringConstraints(max_length=24, pattern=r"^(0|[1-9][0-9]{0,18}(Ki|Mi|Gi|Ti|Pi|Ei)?)$")
]


class Model(BaseModel):
    """The base of every model. Fields of a later version are ignored, as versions only add."""

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True, extra="ignore")


M = TypeVar("M", bound=Model)


class Amounts(Model):
    """What slices hold of one GPU, as the system writes it."""

    memory: Memory
    compute_percent: Percent


class TotalAmounts(Model):
    """What slices hold together, as the system writes it."""

    memory: Memory
    compute_percent: Count


class Condition(Model):
    """One entry of status.conditions."""

    type: Annotated[str, StringConstraints(min_length=1, max_length=316)]
    status: Literal["True", "False", "Unknown"]
    observed_generation: Count | None = None
    last_transition_time: Time
    reason: Annotated[
        str,
        StringConstraints(min_length=1, max_length=1024, pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"),
    ]
    message: Annotated[str, StringConstraints(max_length=32768)]


Conditions = Annotated[tuple[Condition, ...], Field(max_length=16)]


def written_bytes(text: str, *, at_least: int, at_most: int) -> str:
    """The text itself, where it is a quantity within these bounds of bytes; else raises ValueError."""
    try:
        found = quantity.parse_bytes(text)
    except ValueError:
        found = -1
    if not at_least <= found <= at_most:
        bounds = f"{quantity.format_bytes(at_least)} to {quantity.format_bytes(at_most)}"
        raise ValueError(f"whole bytes from {bounds}, such as 512Mi, 16Gi or 1.5Gi")
    return text


def read(model: type[M], raw: object, *, field: str, kind: str) -> M:
    """The part of an object below ``field``, as its model. Raises InvalidObject for what it refuses."""
    part = raw.get(field) if isinstance(raw, Mapping) else raw
    try:
        return model.model_validate(part)
    except ValidationError as error:
        raise _invalid(error, kind=kind, name=_name_of(raw), field=field) from error


def _invalid(error: ValidationError, *, kind: str, name: str, field: str) -> InvalidObject:
    first = error.errors(include_url=False)[0]
    missing = first["type"] == "missing"
    message = first["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    expected = _EXPECTED.get(first["type"], message)
    return InvalidObject(
        kind=kind,
        name=name,
        field=".".join([field, *(str(step) for step in first["loc"])]),
        expected=expected,
        found=None if missing else first["input"],
    )


_EXPECTED = {"missing": "a value", "model_type": "an object", "dict_type": "an object"}


def _name_of(raw: object) -> str:
    metadata = raw.get("metadata") if isinstance(raw, Mapping) else None
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    return str(name)[:253] if name else "(unnamed)"
