"""Pods written for HAMi, as pods with a claim: what they ask becomes the claim, its name goes on the pod.

Pure. The claim itself is made by ``vgpu_webhooks.aliases`` from what is noted on the pod here; admission
writes nothing. What the words mean in HAMi 2.10: docs/howto/migrate-from-hami.md.
"""

import hashlib
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass

import orjson

from vgpu import values
from vgpu.api import InvalidObject, names, quantity
from vgpu.api import claim as claim_api
from vgpu.placement import selection
from vgpu_kube.objects import Object
from vgpu_webhooks.admission import fit, shape

ANNOTATION = f"hami.{names.GROUP}/claim"
"""On a pod: the spec of the claim that it was given, as JSON."""

COUNT, MEMORY, PERCENT = "nvidia.com/gpu", "nvidia.com/gpumem", "nvidia.com/gpumem-percentage"
CORES, PRIORITY = "nvidia.com/gpucores", "nvidia.com/priority"
ALIASES = (COUNT, MEMORY, PERCENT, CORES, PRIORITY)

SCHEDULER = "hami-scheduler"
UNLIMITED_FLOOR_PERCENT = 10
"""Floor of a pod that names no cores, which HAMi does not limit: it lets ten share a card by default."""

VALUES_MOST = 32
"""So many values one expression of a claim may have."""

SELECTORS = {
    "nvidia.com/use-gputype": ("model", "In"),
    "nvidia.com/nouse-gputype": ("model", "NotIn"),
    "nvidia.com/use-gpuuuid": ("uuid", "In"),
    "nvidia.com/nouse-gpuuuid": ("uuid", "NotIn"),
}
NUMA, MODE, CARD_POLICY = "nvidia.com/numa-bind", "nvidia.com/vgpu-mode", "hami.io/gpu-scheduler-policy"
WITHOUT_MEANING = (
    "hami.io/node-scheduler-policy",
    "hami.io/device-scoring-weights",
    "hami.io/numa-alignment",
)


class UntranslatableError(ValueError):
    """HAMi's words say something that a claim cannot; the message says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Translated:
    """A pod that names its claim, and what of its wishes has no meaning here."""

    pod: Object
    warnings: tuple[str, ...]


def translated(pod: Object, kinds: Iterable[fit.Kind]) -> Translated:
    """The pod with label and note and without HAMi's resources; ``kinds`` are the default pool's devices.

    Raises UntranslatableError, and shape.MalformedError where it is no pod at all.
    """
    about, spec = shape.mapping(pod, "metadata"), shape.mapping(pod, "spec")
    annotations = shape.mapping(about, "annotations")
    containers = shape.objects(spec, "containers")
    wished = claim_spec(_asked([*containers, *shape.objects(spec, "initContainers")]), annotations, kinds)
    changed = {**spec, "containers": [_without_aliases(each) for each in containers]}
    if beginners := shape.objects(spec, "initContainers"):
        changed["initContainers"] = [_without_aliases(each) for each in beginners]
    if shape.text(spec, "schedulerName") == SCHEDULER:
        del changed["schedulerName"]
    note = orjson.dumps(wished, option=orjson.OPT_SORT_KEYS).decode()
    named = {
        **about,
        "labels": {**shape.mapping(about, "labels"), names.CLAIM_LABEL: _claim_name(about, note)},
        "annotations": {**annotations, ANNOTATION: note},
    }
    return Translated(pod={**pod, "metadata": named, "spec": changed}, warnings=tuple(_warnings(annotations)))


def promised(pod: Object, namespace: str) -> Object | None:
    """The claim noted on a pod, which may not exist yet; None where there is no note, or not this label's."""
    about = shape.mapping(pod, "metadata")
    note = shape.text(shape.mapping(about, "annotations"), ANNOTATION)
    name = shape.text(shape.mapping(about, "labels"), names.CLAIM_LABEL)
    if not note or not name.endswith(_digest(note)):
        return None
    try:
        spec = orjson.loads(note)
        found = {
            "apiVersion": names.API_VERSION,
            "kind": names.CLAIM_KIND,
            "metadata": {"name": name, "namespace": namespace},
            "spec": spec,
        }
        claim_api.to_values(found)
    except (ValueError, InvalidObject):
        return None
    return found


def claim_spec(asked: dict[str, int], annotations: Object, kinds: Iterable[fit.Kind]) -> Object:
    """The spec of a claim for these amounts and annotations. Raises UntranslatableError."""
    if shape.text(annotations, MODE) == "mig":
        raise UntranslatableError(f"found {MODE}: mig, which slices do not do; remove the annotation")
    there = list(kinds)
    chosen = list(_expressions(annotations, {each.model for each in there}))
    cards = [each.promises for each in there if _accepts(chosen, each.model)]
    whole = MEMORY not in asked and asked.get(PERCENT, 100) == 100
    spec: Object = {
        "deviceCount": asked.get(COUNT, 1),
        "resources": _whole(cards) if whole else _part(asked, cards),
        "priority": 1 if asked.get(PRIORITY, 1) == 0 else 0,
    }
    if whole or asked.get(CORES) == 100 or "mutex" in shape.text(annotations, CARD_POLICY):
        spec["exclusive"] = True
    if chosen:
        spec["deviceSelector"] = {"matchExpressions": chosen}
    if shape.text(annotations, NUMA) == "true":
        spec["topology"] = {"numa": "Required"}
    return spec


def _whole(cards: list[values.Amounts]) -> Object:
    """From the smallest card of the pool up to whatever card it gets."""
    smallest, largest = _smallest(cards), max(each.memory_bytes for each in cards)
    return {
        "requests": {"memory": _mebibytes(smallest), "computePercent": 100},
        "limits": {"memory": _mebibytes(largest), "computePercent": 100},
    }


def _part(asked: dict[str, int], cards: list[values.Amounts]) -> Object:
    cores = asked.get(CORES, 0)
    size = asked[MEMORY] * values.MIB if MEMORY in asked else _smallest(cards) * asked[PERCENT] // 100
    requests = {"memory": _mebibytes(size), "computePercent": cores or UNLIMITED_FLOOR_PERCENT}
    return {"requests": requests, "limits": {"computePercent": cores or 100}}


def _smallest(cards: list[values.Amounts]) -> int:
    if not cards:
        raise UntranslatableError(
            f"expected {MEMORY}, or cards in the default pool that a share could be of, found neither; "
            f"ask for {MEMORY} in MiB, or wait for a node of the default pool"
        )
    return min(each.memory_bytes for each in cards)


def _asked(containers: list[Object]) -> dict[str, int]:
    """What the one container with such resources asks for."""
    asking = [found for each in containers if (found := _resources(each))]
    if len(asking) != 1:
        raise UntranslatableError(
            f"expected {COUNT} and its like in one container of the pod, found {len(asking)}; all containers "
            "of a pod live in one slice: ask for it once, or write a VGPUClaim"
        )
    return {name: _number(name, found) for name, found in asking[0].items()}


def _resources(container: Object) -> Object:
    asked = shape.mapping(container, "resources")
    named = {**shape.mapping(asked, "requests"), **shape.mapping(asked, "limits")}
    return {name: found for name, found in named.items() if name in ALIASES}


def _number(name: str, found: object) -> int:
    """A whole number as the API server stores it, which writes 8000 as 8k."""
    most = {CORES: 100, PERCENT: 100, COUNT: 64, PRIORITY: 1}.get(name, 2**30)
    least = 0 if name in (CORES, PRIORITY) else 1
    try:
        number = quantity.parse_bytes(str(found))
    except ValueError:
        number = -1
    if not least <= number <= most:
        raise UntranslatableError(
            f"expected a whole number from {least} to {most} in {name}, found {shape.described(found)}; "
            "correct it"
        )
    return number


def _expressions(annotations: Object, models: Set[str]) -> Iterator[Object]:
    """To HAMi capitals are all the same: models that are there are named as they are written."""
    for name, (key, operator) in SELECTORS.items():
        listed = [each.strip() for each in shape.text(annotations, name).split(",") if each.strip()]
        if listed:
            named = [each for each in sorted(models) if _any_part(listed, each)] if key == "model" else []
            found = [f"*{each}*" for each in listed] if key == "model" else listed
            yield {"key": key, "operator": operator, "values": _few(name, [*found, *named])}


def _few(annotation: str, found: list[str]) -> list[str]:
    if len(found) > VALUES_MOST:
        raise UntranslatableError(
            f"expected at most {VALUES_MOST} cards in {annotation}, found {len(found)}; shorten the list"
        )
    return found


def _any_part(parts: list[str], model: str) -> bool:
    """Whether a model has one of these in its name, though not in these capitals."""
    return any(each.lower() in model.lower() and each not in model for each in parts)


def _accepts(expressions: list[Object], model: str) -> bool:
    asked = [
        values.Expression(
            key=each["key"], operator=values.Operator(each["operator"]), values=tuple(each["values"])
        )
        for each in expressions
    ]
    return bool(selection.models(asked, [model]))


def _without_aliases(container: Object) -> Object:
    if not _resources(container):
        return container
    asked = shape.mapping(container, "resources")
    kept = {
        kind: {name: found for name, found in shape.mapping(asked, kind).items() if name not in ALIASES}
        for kind in ("limits", "requests")
        if kind in asked
    }
    return {**container, "resources": {**asked, **kept}}


def _claim_name(about: Object, note: str) -> str:
    """One for all pods of an owner that ask the same, at most 63 characters."""
    owners = [each for each in shape.objects(about, "ownerReferences") if each.get("controller")]
    owner = shape.text(owners[0], "name") if owners else shape.text(about, "name")
    owner = owner or shape.text(about, "generateName") or "pod"
    return f"hami-{owner[:45].rstrip('-.')}-{_digest(note)}"


def _digest(note: str) -> str:
    return hashlib.sha256(note.encode()).hexdigest()[:8]


def _mebibytes(size: int) -> str:
    return f"{max(size // values.MIB, 1)}Mi"


def _warnings(annotations: Object) -> Iterator[str]:
    for name in WITHOUT_MEANING:
        if name in annotations:
            yield f"{name} has no meaning here; the pool's placement.strategy decides"
    if (policy := shape.text(annotations, CARD_POLICY)) and policy != "mutex":
        yield f"{CARD_POLICY}: only mutex has a meaning here; the pool's placement.strategy decides"
