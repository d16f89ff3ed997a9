"""VGPUPool: the model of ``crds/vgpupools.yaml`` and its way to ``values.Pool``."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StringConstraints

from vgpu import values
from vgpu.api import metadata, names, quantity, schema

_PEBI, _EXBI = 1024**5, 1024**6


def _reserve(text: str) -> str:
    return schema.written_bytes(text, at_least=0, at_most=_PEBI)


def _total(text: str) -> str:
    return schema.written_bytes(text, at_least=0, at_most=_EXBI)


LabelValue = Annotated[str, StringConstraints(max_length=63)]
TotalMemory = Annotated[schema.WrittenMemory, AfterValidator(_total)]
ReservedMemory = Annotated[schema.WrittenMemory, AfterValidator(_reserve)]
OvercommitPercent = Annotated[schema.Int, Field(ge=1, le=1000)]


class Expression(schema.Model):
    """One requirement on one label."""

    key: Annotated[str, StringConstraints(min_length=1, max_length=317)]
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    values: Annotated[tuple[LabelValue, ...], Field(max_length=64)] = ()


class Selector(schema.Model):
    """A Kubernetes label selector."""

    match_labels: Annotated[Mapping[str, LabelValue], Field(max_length=32)] = {}
    match_expressions: Annotated[tuple[Expression, ...], Field(max_length=32)] = ()


class DeviceSelector(schema.Model):
    """Which devices belong to a pool, by model; a star stands for any characters."""

    models: Annotated[
        tuple[Annotated[str, StringConstraints(min_length=1, max_length=128)], ...],
        Field(min_length=1, max_length=32),
    ]


class Overcommit(schema.Model):
    """How much may be promised of what is there."""

    memory_percent: OvercommitPercent = 100
    compute_percent: OvercommitPercent = 100


class ReservedPerDevice(schema.Model):
    """What is kept of every device and never promised."""

    memory: ReservedMemory = "0"


class Placement(schema.Model):
    """How a place is chosen."""

    strategy: Literal["LeastFragmentation", "BinPack", "Spread"] = "LeastFragmentation"


class Elasticity(schema.Model):
    """Whether slices are resized."""

    mode: Literal["Auto", "Fixed"] = "Auto"


class Queue(schema.Model):
    """How pods wait."""

    ungate_after_seconds: Annotated[schema.Int, Field(ge=1, le=86_400)] = 60


class Audit(schema.Model):
    """What follows when a pod escapes its slice."""

    on_escape: Literal["Report", "Stop"] = "Report"


class Reclaim(schema.Model):
    """How room is made for pods that wait."""

    moves: Literal["Propose", "Evict"] = "Propose"


class QuotaAmounts(schema.Model):
    """What a namespace may hold, all slices together."""

    memory: TotalMemory
    compute_percent: Annotated[schema.Int, Field(ge=0, le=100_000_000)]


class Quota(schema.Model):
    """The quota of one namespace."""

    namespace: schema.Name
    nominal: QuotaAmounts
    borrowing_limit: QuotaAmounts | None = None


class Spec(schema.Model):
    """What the platform team wishes."""

    node_selector: Selector
    device_selector: DeviceSelector | None = None
    overcommit: Overcommit = Overcommit()
    reserved_per_device: ReservedPerDevice = ReservedPerDevice()
    placement: Placement = Placement()
    elasticity: Elasticity = Elasticity()
    reclaim: Reclaim = Reclaim()
    queue: Queue = Queue()
    audit: Audit = Audit()
    quotas: Annotated[tuple[Quota, ...], Field(max_length=1000)] | None = None


class Claims(schema.Model):
    """How many claims draw from the pool."""

    bound: schema.Count
    pending: schema.Count


class QuotaUse(schema.Model):
    """What one namespace holds."""

    namespace: schema.Name
    used: schema.TotalAmounts
    borrowed: schema.TotalAmounts


class Status(schema.Model):
    """What the operator sees."""

    node_count: schema.Count | None = None
    device_count: schema.Count | None = None
    claims: Claims | None = None
    capacity: schema.TotalAmounts | None = None
    allocated: schema.TotalAmounts | None = None
    quotas: Annotated[tuple[QuotaUse, ...], Field(max_length=1000)] | None = None
    conditions: schema.Conditions | None = None


def to_values(raw: Mapping[str, Any]) -> values.Pool:
    """The pool that a VGPUPool object describes. Raises InvalidObject for what its schema refuses."""
    about = metadata.read(raw, kind=names.POOL_KIND)
    spec = schema.read(Spec, raw, field="spec", kind=names.POOL_KIND)
    return values.Pool(
        name=about.name,
        node_selector=_selector(spec.node_selector),
        device_models=spec.device_selector.models if spec.device_selector else (),
        memory_overcommit_percent=spec.overcommit.memory_percent,
        compute_overcommit_percent=spec.overcommit.compute_percent,
        reserved_memory_bytes=quantity.parse_bytes(spec.reserved_per_device.memory),
        strategy=values.Strategy(spec.placement.strategy),
        elasticity=values.ElasticityMode(spec.elasticity.mode),
        moves=values.MovePolicy(spec.reclaim.moves),
        ungate_after_seconds=spec.queue.ungate_after_seconds,
        on_escape=values.OnEscape(spec.audit.on_escape),
        quotas=None if spec.quotas is None else {each.namespace: _quota(each) for each in spec.quotas},
        is_default=about.annotations.get(names.DEFAULT_POOL_ANNOTATION) == "true",
    )


def _selector(selector: Selector) -> values.Selector:
    return values.Selector(
        match_labels=dict(selector.match_labels),
        expressions=tuple(
            values.Expression(key=each.key, operator=values.Operator(each.operator), values=each.values)
            for each in selector.match_expressions
        ),
    )


def _quota(quota: Quota) -> values.Quota:
    return values.Quota(
        nominal=_amounts(quota.nominal),
        borrowing_limit=_amounts(quota.borrowing_limit) if quota.borrowing_limit else None,
    )


def _amounts(amounts: QuotaAmounts) -> values.Amounts:
    return values.Amounts(
        memory_bytes=quantity.parse_bytes(amounts.memory), compute_percent=amounts.compute_percent
    )
