"""kubectl: verbs and their options, kinds, fields, names. What is missing here is said to be missing."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import click
import yaml

from known import definitions
from known.definitions import ROOT
from vgpu.api import claim, names, pool
from vgpu_cli import app, reading
from vgpu_docs.commands import Command

VALUES = {
    *("-n", "--namespace", "-o", "--output", "-l", "--selector", "-f", "--filename", "-p", "--patch"),
    *("--for", "--timeout", "--replicas", "--clusterrole", "--group", "--type", "--context"),
}
"""Options with a value."""

EVERYWHERE = {"-n", "--namespace", "--context"}
SELECTING = {"-A", "-l", "--selector"}
OPTIONS: dict[str, set[str]] = {
    "annotate": {"--overwrite"},
    "apply": {"-f", "--filename"},
    "create": {"-f", "--clusterrole", "--group"},
    "delete": {"-f", "--all", "--wait", *SELECTING},
    "describe": SELECTING,
    "drain": {"--ignore-daemonsets", "--delete-emptydir-data"},
    "explain": set(),
    "get": {"-o", "--output", "-w", "--show-labels", *SELECTING},
    "label": {"--overwrite"},
    "logs": {"--previous", *SELECTING},
    "patch": {"--type", "-p", "--patch"},
    "rollout": {"--timeout"},
    "scale": {"--replicas"},
    "wait": {"--for", "--timeout", *SELECTING},
}
BUILT_IN = {
    *("pod", "pods", "node", "nodes", "namespace", "namespaces", "deployment", "deployments", "daemonset"),
    *("daemonsets", "event", "events", "crd", "job", "jobs", "clusterrolebinding", "configmap", "secret"),
}
FOREIGN_LABELS = {"component", "gpu", "nvidia.com/gpu.present", "pod-security.kubernetes.io/enforce"}
"""Labels of Kubernetes, of NVIDIA's tools and of HAMi."""

ROLES = {"view", "edit", "admin", "cluster-admin"}
WHOLE: dict[str, Any] = {names.CLAIM_KIND: claim.to_values, names.POOL_KIND: pool.to_values}
CHART = {path: path.read_text() for path in (ROOT / "helm" / "vgpu").rglob("*.yaml")}
NAMED = {
    name for text in CHART.values() for name in re.findall(r"^ +name: (vgpu-[a-z-]+)$", text, re.MULTILINE)
}


@dataclass
class Typed:
    """A command line, taken apart."""

    verb: str = ""
    rest: list[str] = field(default_factory=list)
    options: list[tuple[str, str]] = field(default_factory=list)

    def values(self, *spellings: str) -> list[str]:
        return [value for name, value in self.options if name in spellings]


def check(command: Command) -> None:
    if command.words[1:2] == ("vgpu",):
        _check_ours(command.words[2:])
        return
    typed = _taken_apart(command.words[1:])
    assert typed.verb in OPTIONS, f"verb {typed.verb} is not known here: add it with its options"
    for name, _ in typed.options:
        assert name in OPTIONS[typed.verb] | EVERYWHERE, f"{typed.verb} {name} is not known here: add it"
    for path in typed.values("-f", "--filename"):
        _check_manifests(command.fed if path == "-" else (ROOT / path).read_text())
    for role in typed.values("--clusterrole"):
        assert role in ROLES | NAMED, f"there is no ClusterRole {role}"
    for selector in typed.values("-l", "--selector"):
        _check_labels(selector.split(","))
    _check_objects(typed)


def _check_ours(words: Sequence[str]) -> None:
    if not words or words[0].startswith("-"):
        app.app.make_parser(click.Context(app.app)).parse_args([*words])
        return
    found = app.app.get_command(click.Context(app.app), words[0])
    assert found is not None, f"kubectl vgpu {words[0]} is no command"
    found.make_parser(click.Context(found)).parse_args([*words[1:]])  # UsageError names the option


def _taken_apart(words: Sequence[str]) -> Typed:
    typed, left = Typed(), iter(words)
    for word in left:
        if word.startswith("-") and word != "-":
            name, is_set, value = word.partition("=")
            typed.options.append((name, value if is_set or name not in VALUES else next(left)))
        elif not typed.verb:
            typed.verb = word
        else:
            typed.rest.append(word)
    return typed


def _check_objects(typed: Typed) -> None:
    match typed.verb:
        case "explain":
            [path] = typed.rest
            kind, dot, below = path.partition(".")
            definitions.check_field(definitions.BY_WORD[kind], dot + below)
        case "drain" | "logs" | "apply":
            return
        case "rollout":
            assert typed.rest[0] in {"status", "restart"}
            _check_kinds(typed, typed.rest[1:])
        case _ if typed.rest:
            _check_kinds(typed, typed.rest)
        case _:
            assert typed.values("-f", "--filename"), "expected a kind or -f, found neither"


def _check_kinds(typed: Typed, rest: Sequence[str]) -> None:
    kinds, _, name = rest[0].partition("/")
    called = [name] if name else [each for each in rest[1:] if "=" not in each and not each.endswith("-")]
    for kind in kinds.split(","):
        assert kind in BUILT_IN | definitions.BY_WORD.keys() | definitions.CATEGORIES, (
            f"no kind is called {kind}"
        )
        if kind in definitions.BY_WORD:
            _check_fields(typed, definitions.BY_WORD[kind])
    if kinds == "crd":
        assert {*called} <= definitions.DEFINITIONS.keys()
    elif reading.SYSTEM in typed.values("-n", "--namespace"):
        assert {*called} <= NAMED, f"the chart makes no {called} in {reading.SYSTEM}"
    if typed.verb == "label":
        _check_labels([each.removesuffix("-") for each in rest[1:] if "=" in each or each.endswith("-")])


def _check_fields(typed: Typed, definition: Any) -> None:
    for path in _paths(typed):
        definitions.check_field(definition, path)
    for awaited in typed.values("--for"):
        if awaited.startswith("condition="):
            kind = awaited.removeprefix("condition=").partition("=")[0]
            assert kind in definitions.CONDITIONS[definition["spec"]["names"]["plural"]]
    if typed.verb == "scale":
        [version] = definition["spec"]["versions"]
        assert "scale" in version["subresources"]


def _paths(typed: Typed) -> Iterator[str]:
    """The fields that -o and --for name."""
    for value in typed.values("-o", "--output", "--for"):
        yield from re.findall(r"jsonpath='?\{(.*?)\}", value)
        for column in value.removeprefix("custom-columns=").split(",") if "custom-columns=" in value else ():
            yield column.partition(":")[2]


def _check_labels(labels: Sequence[str]) -> None:
    for label in labels:
        key, _, value = label.partition("=")
        if key in FOREIGN_LABELS:
            continue
        if value.startswith("vgpu-"):
            assert key in {"app.kubernetes.io/name", "app.kubernetes.io/managed-by"}
            assert value in NAMED, f"nothing is called {value}"
        else:
            assert key == names.CLAIM_LABEL or label == "app.kubernetes.io/part-of=elastic-vgpu", label


def _check_manifests(text: str) -> None:
    for each in yaml.safe_load_all(text):
        if each["kind"] in WHOLE:
            about = {"namespace": "team-a", "uid": "u-1", **each["metadata"]}
            WHOLE[each["kind"]]({**each, "metadata": about})
