"""Where a pod can live, by the rules that the operator reads, and which rules it does not read."""

from typing import Any

import pytest

from vgpu_kube.objects import Object
from vgpu_operator import homes


def pod(**spec: Any) -> homes.Home:
    return homes.home({"metadata": {}, "spec": spec})


def host(*taints: Object, unschedulable: bool = False, **labels: str) -> homes.Host:
    spec = {"taints": list(taints), "unschedulable": unschedulable}
    return homes.host({"metadata": {"labels": labels}, "spec": spec})


def owned(kind: str, *, controller: bool = True) -> homes.Home:
    owner = {"kind": kind, "name": "one", "controller": controller}
    return homes.home({"metadata": {"ownerReferences": [owner]}, "spec": {}})


def required(*terms: Object) -> Object:
    return {
        "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [*terms]}}
    }


ZONE_A = {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}
LARGE = {"matchExpressions": [{"key": "large", "operator": "Exists"}]}
DEDICATED = {"key": "dedicated", "value": "team-b", "effect": "NoSchedule"}


def test_a_pod_without_rules_lives_anywhere_that_takes_pods() -> None:
    assert pod().accepts(host())
    assert not pod().accepts(host(unschedulable=True))


def test_a_node_selector_must_select_the_node() -> None:
    chosen = pod(nodeSelector={"zone": "a"})

    assert chosen.accepts(host(zone="a"))
    assert not chosen.accepts(host(zone="b"))


def test_any_one_term_of_the_required_affinity_is_enough_beside_the_selector() -> None:
    chosen = pod(nodeSelector={"gpu": "yes"}, affinity=required(ZONE_A, LARGE))

    assert chosen.accepts(host(gpu="yes", zone="a"))
    assert chosen.accepts(host(gpu="yes", large=""))
    assert not chosen.accepts(host(gpu="yes", zone="b"))
    assert not chosen.accepts(host(zone="a"))


@pytest.mark.parametrize(
    ("toleration", "bears"),
    [
        ({"key": "dedicated", "operator": "Equal", "value": "team-b"}, True),
        ({"key": "dedicated", "value": "team-b", "effect": "NoSchedule"}, True),
        ({"key": "dedicated", "operator": "Exists"}, True),
        ({"operator": "Exists"}, True),
        ({"key": "dedicated", "value": "team-a"}, False),
        ({"key": "dedicated", "operator": "Exists", "effect": "NoExecute"}, False),
        ({"key": "other", "operator": "Exists"}, False),
    ],
)
def test_a_taint_keeps_off_who_does_not_tolerate_it(toleration: Object, bears: bool) -> None:
    assert not pod().accepts(host(DEDICATED))
    assert pod(tolerations=[toleration]).accepts(host(DEDICATED)) is bears


def test_a_taint_that_only_prefers_keeps_nobody_off() -> None:
    assert pod().accepts(host({**DEDICATED, "effect": "PreferNoSchedule"}))


def test_only_a_controller_that_places_anew_replaces_a_pod() -> None:
    assert owned("ReplicaSet").replaced
    assert not owned("DaemonSet").replaced
    assert not owned("ReplicaSet", controller=False).replaced
    assert not pod().replaced


@pytest.mark.parametrize(
    "spec",
    [
        {"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{}]}}},
        {"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{}]}}},
        {
            "affinity": required(
                {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n"]}]}
            )
        },
        {"affinity": required({"matchExpressions": [{"key": "n", "operator": "Gt", "values": ["1"]}]})},
        {"topologySpreadConstraints": [{"whenUnsatisfiable": "DoNotSchedule"}]},
        {"volumes": [{"persistentVolumeClaim": {"claimName": "weights"}}]},
    ],
)
def test_rules_that_are_not_read_are_said_so(spec: Object) -> None:
    assert not pod(**spec).readable


def test_preferences_and_other_volumes_are_no_rules() -> None:
    spread = [{"whenUnsatisfiable": "ScheduleAnyway"}]

    assert pod(topologySpreadConstraints=spread, volumes=[{"emptyDir": {}}]).readable
