"""kube-scheduler's extender protocol, version 1: its JSON in and out, and nothing that decides.

The Go structs carry no tags, so their keys are capitalised, while the Pod inside is a normal one.
Only HTTP 200 counts for kube-scheduler, and ``Error`` in an answer fails the pod's scheduling cycle.
"""

import reprlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from vgpu_kube.objects import Object
from vgpu_webhooks.extender import pods


class MalformedRequest(ValueError):  # noqa: N818 - names the finding
    """A request that no kube-scheduler sends: what was expected, what was found, what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterArgs:
    """The pod of this scheduling cycle and the nodes that kube-scheduler's own filters let through."""

    pod: pods.Pod
    node_names: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class BindingArgs:
    """The pod that shall be bound, and where."""

    namespace: str
    name: str
    uid: str
    node: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PreemptionArgs:
    """The pod that may displace others, and the UIDs of its victims by node."""

    pod: pods.Pod
    victims: Mapping[str, frozenset[str]]
    raw_victims: Mapping[str, Object]


def filter_args(body: bytes) -> FilterArgs:
    """Reads ExtenderArgs; raises MalformedRequest."""
    raw = _object(body, "ExtenderArgs")
    pod = _pod(raw, "ExtenderArgs")
    found = raw.get("NodeNames")
    if found is None and raw.get("Nodes") is not None:
        raise MalformedRequest(
            "expected NodeNames, found Nodes: set nodeCacheCapable: true in the scheduler's configuration"
        )
    if not isinstance(found, list) or not all(type(name) is str for name in found):
        raise MalformedRequest(f"expected a list of texts in ExtenderArgs.NodeNames, found {_short(found)}")
    return FilterArgs(pod=pod, node_names=found)


def binding_args(body: bytes) -> BindingArgs:
    """Reads ExtenderBindingArgs; raises MalformedRequest."""
    raw = _object(body, "ExtenderBindingArgs")
    found = {field: raw.get(field) for field in ("PodNamespace", "PodName", "PodUID", "Node")}
    for field, value in found.items():
        if not isinstance(value, str) or not value:
            raise MalformedRequest(f"expected a text in ExtenderBindingArgs.{field}, found {_short(value)}")
    namespace, name, uid, node = (str(value) for value in found.values())
    return BindingArgs(namespace=namespace, name=name, uid=uid, node=node)


def preemption_args(body: bytes) -> PreemptionArgs:
    """Reads ExtenderPreemptionArgs; raises MalformedRequest."""
    raw = _object(body, "ExtenderPreemptionArgs")
    found = raw.get("NodeNameToMetaVictims")
    if found is None:
        found = {}
    if not isinstance(found, dict) or not all(isinstance(entry, dict) for entry in found.values()):
        raise MalformedRequest(
            f"expected an object in ExtenderPreemptionArgs.NodeNameToMetaVictims, found {_short(found)}:"
            " set nodeCacheCapable: true in the scheduler's configuration"
        )
    victims = {node: frozenset(_uids(entry.get("Pods") or [])) for node, entry in found.items()}
    return PreemptionArgs(pod=_pod(raw, "ExtenderPreemptionArgs"), victims=victims, raw_victims=found)


def placed(node: str) -> bytes:
    """ExtenderFilterResult: this node only. What else was offered need not be named."""
    return orjson.dumps({"NodeNames": [node], "FailedNodes": {}, "Error": ""})


def refused(reasons: Mapping[str, str]) -> bytes:
    """ExtenderFilterResult: no node, and why for each."""
    plain = {text: _plain(text) for text in set(reasons.values())}
    failed = {node: plain[text] for node, text in reasons.items()}
    return orjson.dumps({"NodeNames": [], "FailedNodes": failed, "Error": ""})


def filter_error(message: str) -> bytes:
    """ExtenderFilterResult: the cycle fails, and kube-scheduler tries the pod again after its back-off."""
    return orjson.dumps({"NodeNames": None, "FailedNodes": {}, "Error": _plain(message)})


def bound() -> bytes:
    """ExtenderBindingResult: the pod is bound."""
    return orjson.dumps({"Error": ""})


def binding_error(message: str) -> bytes:
    """ExtenderBindingResult: the pod is not bound, and is queued again."""
    return orjson.dumps({"Error": _plain(message)})


def preemptable(args: PreemptionArgs, victims: Mapping[str, Iterable[str]]) -> bytes:
    """ExtenderPreemptionResult: these may go, each node's alone; on the other nodes nobody."""
    return orjson.dumps(
        {
            "NodeNameToMetaVictims": {
                node: {**args.raw_victims[node], "Pods": [{"UID": uid} for uid in sorted(uids)]}
                for node, uids in victims.items()
            }
        }
    )


def _plain(text: str) -> str:
    """The text without percent signs: kube-scheduler makes Events with it as the format, not an argument."""
    return text.replace("%", "percent")


def _object(body: bytes, kind: str) -> Object:
    try:
        raw = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise MalformedRequest(f"expected {kind} as JSON, found {_short(body)}: {error}") from None
    if not isinstance(raw, dict):
        raise MalformedRequest(f"expected {kind} as a JSON object, found {_short(raw)}")
    return raw


def _pod(raw: Object, kind: str) -> pods.Pod:
    found = raw.get("Pod")
    if not isinstance(found, dict):
        raise MalformedRequest(f"expected a Pod in {kind}.Pod, found {_short(found)}")
    try:
        return pods.decode(found)
    except ValueError as error:
        raise MalformedRequest(f"{kind}.Pod: {error}") from None


def _uids(entries: Any) -> list[str]:  # noqa: ANN401 - JSON from the wire, checked here
    if not isinstance(entries, list):
        raise MalformedRequest(f"expected a list of victims in Pods, found {_short(entries)}")
    found = [entry.get("UID") if isinstance(entry, dict) else None for entry in entries]
    uids = [uid for uid in found if isinstance(uid, str)]
    if len(uids) != len(found):
        raise MalformedRequest(f"expected victims with a UID each, found {_short(entries)}")
    return uids


def _short(found: object) -> str:
    return "nothing" if found is None else reprlib.repr(found)  # bounded in length and depth
