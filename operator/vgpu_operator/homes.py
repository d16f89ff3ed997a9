"""Which nodes a pod can live on, as far as the operator reads its rules; others are never moved.

What is read: nodeSelector, required node affinity, taints, and whether a node takes pods at all. CPU, memory,
preferences and rules between pods are kube-scheduler's.
"""

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from vgpu import inventory, values
from vgpu_kube.objects import Object

REPELLING = frozenset({"NoSchedule", "NoExecute"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Taint:
    """What keeps pods without a toleration off a node."""

    key: str
    value: str
    effect: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Toleration:
    """What a pod bears; an empty key bears all, an empty effect every one, ``value`` None any."""

    key: str
    value: str | None
    effect: str

    def bears(self, taint: Taint) -> bool:
        """Whether the taint does not keep the pod off."""
        return (
            self.key in ("", taint.key)
            and self.value in (None, taint.value)
            and self.effect in ("", taint.effect)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A Node as pods choose it."""

    labels: Mapping[str, str]
    schedulable: bool
    taints: tuple[Taint, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """What a pod asks of its node.

    ``replaced`` says that a controller would make it anew elsewhere; ``selectors`` must all select the node,
    and any one of ``terms`` where there are some; ``readable`` is False where it has rules not read here.
    """

    replaced: bool = False
    readable: bool = True
    selectors: tuple[values.Selector, ...] = ()
    terms: tuple[values.Selector, ...] = ()
    tolerations: tuple[Toleration, ...] = ()

    @property
    def rules(self) -> Hashable:
        """What two pods have in common that accept the same nodes."""
        return repr((self.selectors, self.terms, self.tolerations))

    def accepts(self, host: Host) -> bool:
        """Whether the pod could live there, by the rules that are read."""
        labels = host.labels.items()
        chosen = all(inventory.selects(each, labels) for each in self.selectors)
        preferred = not self.terms or any(inventory.selects(each, labels) for each in self.terms)
        return chosen and preferred and self._bears(host)

    def _bears(self, host: Host) -> bool:
        return host.schedulable and all(
            any(each.bears(taint) for each in self.tolerations) for taint in host.taints
        )


ANYWHERE = Home()
"""No rules, and no controller."""


def host(raw: Object) -> Host:
    """What pods see of a Node."""
    spec = raw.get("spec") or {}
    taints = (
        Taint(key=each["key"], value=each.get("value", ""), effect=each["effect"])
        for each in spec.get("taints") or ()
    )
    return Host(
        labels=raw["metadata"].get("labels") or {},
        schedulable=not spec.get("unschedulable", False),
        taints=tuple(taint for taint in taints if taint.effect in REPELLING),
    )


def home(raw: Object) -> Home:
    """What a Pod asks of its node."""
    spec = raw.get("spec") or {}
    affinity = spec.get("affinity") or {}
    required = (affinity.get("nodeAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    ) or {}
    terms = required.get("nodeSelectorTerms") or ()
    own = spec.get("nodeSelector")
    return Home(
        replaced=_replaced(raw["metadata"]),
        readable=_between_pods(spec, affinity) is None and all(_readable(term) for term in terms),
        selectors=(values.Selector(match_labels=dict(own)),) if own else (),
        terms=tuple(_selector(term) for term in terms if _readable(term)),
        tolerations=tuple(_tolerations(spec)),
    )


def _replaced(metadata: Mapping[str, Any]) -> bool:
    owners = metadata.get("ownerReferences") or ()
    return any(owner.get("controller") and owner.get("kind") != "DaemonSet" for owner in owners)


def _between_pods(spec: Mapping[str, Any], affinity: Mapping[str, Any]) -> str | None:
    """The rule that ties a pod to other pods or to a volume, None where there is none."""
    for kind in ("podAffinity", "podAntiAffinity"):
        if (affinity.get(kind) or {}).get("requiredDuringSchedulingIgnoredDuringExecution"):
            return kind
    if any(
        each.get("whenUnsatisfiable") == "DoNotSchedule" for each in _list(spec, "topologySpreadConstraints")
    ):
        return "topologySpreadConstraints"
    if any("persistentVolumeClaim" in each for each in _list(spec, "volumes")):
        return "persistentVolumeClaim"
    return None


def _readable(term: Mapping[str, Any]) -> bool:
    known = {operator.value for operator in values.Operator}
    expressions = term.get("matchExpressions") or ()
    return not term.get("matchFields") and all(each.get("operator") in known for each in expressions)


def _selector(term: Mapping[str, Any]) -> values.Selector:
    return values.Selector(
        expressions=tuple(
            values.Expression(
                key=each["key"],
                operator=values.Operator(each["operator"]),
                values=tuple(each.get("values") or ()),
            )
            for each in term.get("matchExpressions") or ()
        )
    )


def _tolerations(spec: Mapping[str, Any]) -> Iterator[Toleration]:
    for each in _list(spec, "tolerations"):
        exists = each.get("operator") == "Exists"
        yield Toleration(
            key=each.get("key", ""),
            value=None if exists else each.get("value", ""),
            effect=each.get("effect", ""),
        )


def _list(spec: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    return spec.get(name) or []
