"""The chart renders what the repository says, and refuses what could not work. No cluster is needed."""

import functools
import importlib
import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from vgpu.api import pool as pool_api
from vgpu_docs import commands
from vgpu_e2e import helm, manifests, scheduler
from vgpu_e2e.platform import CHART_FILES, CRDS, NAMESPACE
from vgpu_e2e.rest import Object
from vgpu_webhooks.admission import app, hami

IMAGE = {"scheduler.kubeScheduler.image": "kube-scheduler:v1.36.4"}
MONITORING = {f"monitoring.{each}": True for each in ("podMonitors", "rules", "dashboards")}
PROMETHEUS = [f"--api-versions=monitoring.coreos.com/v1/{kind}" for kind in ("PodMonitor", "PrometheusRule")]
CERT_MANAGER = "--api-versions=cert-manager.io/v1"
COMPONENTS = ("operator", "admission", "scheduler", "agent")
COMMON_KEYS = ["logLevel", "resources", "nodeSelector", "tolerations", "priorityClassName"]
PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"


@functools.cache
def plain() -> list[Object]:
    """What the chart makes of its own values."""
    return helm.render(values=IMAGE)


def of_kind(documents: list[Object], kind: str) -> dict[str, Object]:
    return {each["metadata"]["name"]: each for each in documents if each["kind"] == kind}


def pod_templates() -> dict[str, Object]:
    workloads = [each for each in plain() if each["kind"] in ("Deployment", "DaemonSet", "Job")]
    return {each["metadata"]["name"]: each["spec"]["template"] for each in workloads}


def containers() -> list[tuple[str, Object]]:
    return [
        (name, each) for name, template in pod_templates().items() for each in template["spec"]["containers"]
    ]


def test_helm_finds_nothing_to_complain_about() -> None:
    said = helm.run("lint", str(helm.CHART), "--strict", "--namespace", NAMESPACE, *helm.flags(IMAGE))

    assert "0 chart(s) failed" in said


@pytest.mark.parametrize("definition", sorted(CRDS.glob("*.yaml")), ids=lambda each: each.stem)
def test_the_definitions_in_the_chart_are_copies(definition: Path) -> None:
    """`python -m vgpu_e2e.helm copy-crds` makes them anew."""
    assert (helm.COPIES / definition.name).read_text() == definition.read_text()


def test_the_definitions_are_installed_as_they_are_and_kept() -> None:
    for definition in manifests.load(CRDS):
        name = definition["metadata"]["name"]
        annotations = definition["metadata"].setdefault("annotations", {})
        annotations["helm.sh/resource-policy"] = "keep"
        assert of_kind(plain(), "CustomResourceDefinition")[name] == definition


def test_accounts_roles_and_policies_are_those_of_the_test_bed() -> None:
    rendered = {(each["kind"], each["metadata"]["name"]): each for each in plain()}
    wanted = [each for each in manifests.load(CHART_FILES) if each["kind"] != "Namespace"]

    assert [each for each in wanted if rendered[each["kind"], each["metadata"]["name"]] != each] == []


def test_a_provided_authority_is_trusted_by_every_webhook() -> None:
    values = {**IMAGE, "certificates.mode": "Provided"}
    values |= {"certificates.secretName": "own", "certificates.authority": PEM}
    documents = helm.render(values=values)

    webhooks = [hook for each in documents if manifests.is_webhook(each) for hook in each["webhooks"]]
    [volume] = of_kind(documents, "Deployment")["vgpu-admission"]["spec"]["template"]["spec"]["volumes"]
    assert webhooks
    assert all(each["clientConfig"]["caBundle"] for each in webhooks)
    assert volume["secret"]["secretName"] == "own"
    assert "vgpu-certificates" not in of_kind(documents, "CronJob")


def test_cert_manager_signs_for_the_service_and_brings_the_trust() -> None:
    documents = helm.render(CERT_MANAGER, values={**IMAGE, "certificates.mode": "CertManager"})

    [certificate] = of_kind(documents, "Certificate").values()
    assert certificate["spec"]["dnsNames"] == [f"vgpu-admission.{NAMESPACE}.svc"]
    assert certificate["spec"]["issuerRef"]["name"] in of_kind(documents, "Issuer")
    source = f"{NAMESPACE}/{certificate['metadata']['name']}"
    registrations = [each for each in documents if manifests.is_webhook(each)]
    assert len(registrations) == 2
    for each in registrations:
        assert each["metadata"]["annotations"]["cert-manager.io/inject-ca-from"] == source


def test_every_argument_is_an_option_of_the_command_it_is_given_to() -> None:
    values = {
        **IMAGE,
        "hami.metrics": True,
        "hami.aliases": True,
        "operator.prometheusUrl": "http://prometheus:9090",
    }
    documents = [each for each in helm.render(values=values) if each["kind"] in ("Deployment", "DaemonSet")]
    ours = [
        container
        for each in documents
        for container in each["spec"]["template"]["spec"]["containers"]
        if container["name"] != "kube-scheduler"
    ]

    assert len(ours) == len(COMPONENTS) + len(["aliases"])
    for container in ours:
        command = _command(container["command"])
        arguments = [
            each.replace("$(POD_NAME)", "pod").replace("$(NODE_NAME)", "n") for each in container["args"]
        ]
        command.make_context("checked", arguments, resilient_parsing=False)


def _command(words: list[str]) -> click.Command:
    """The click command behind `python -m MODULE`."""
    assert words[:2] == ["python", "-m"]
    module = importlib.import_module(f"{words[2]}.__main__")
    command: click.Command = module.main
    return command


def test_the_schedulers_configuration_is_that_of_the_test_bed() -> None:
    rendered = yaml.safe_load(of_kind(plain(), "ConfigMap")["vgpu-scheduler"]["data"]["config.yaml"])
    bed = scheduler.configuration(
        Path("unused"), extender_url="http://127.0.0.1:8888", profiles=["vgpu-scheduler"], election=None
    )

    for document in (rendered, bed):
        document.pop("leaderElection")
        document["clientConnection"].pop("kubeconfig", None)
    assert rendered == bed


@pytest.mark.parametrize(
    ("values", "arguments", "remedy"),
    [
        ({}, [], "set scheduler.kubeScheduler.image to the kube-scheduler image"),
        ({**IMAGE, "certificates.mode": "CertManager"}, [], "install cert-manager, or set certificates.mode"),
        ({**IMAGE, "certificates.mode": "Provided"}, [], "name the Secret with tls.crt and tls.key"),
        (
            {
                **IMAGE,
                "certificates.mode": "Provided",
                "certificates.secretName": "a",
                "certificates.authority": "b",
            },
            [],
            "expected PEM in certificates.authority, found none",
        ),
        ({**IMAGE, "monitoring.podMonitors": True}, [], "install its CRDs first"),
        ({**IMAGE, "monitoring.rules": True}, [], "or set monitoring.rules=false"),
        (IMAGE, ["--kube-version", "1.30.9"], "incompatible with Kubernetes v1.30.9"),
        ({**IMAGE, "admission.replicas": 1}, [], "minimum: got 1, want 2"),
        ({**IMAGE, "certificates.mode": "None"}, [], "value must be one of"),
        ({**IMAGE, "operator.replicas": 2}, [], "additional properties 'replicas' not allowed"),
        ({**IMAGE, "agent.kubeletRoot": "var/lib/kubelet"}, [], "does not match pattern"),
    ],
    ids=lambda each: str(each)[:60] if isinstance(each, str) else "",
)
def test_what_could_not_work_is_refused_with_a_remedy(
    values: dict[str, object], arguments: list[str], remedy: str
) -> None:
    with pytest.raises(helm.HelmError, match=re.escape(remedy)):
        helm.render(*arguments, values=values)


def test_another_namespace_is_refused_with_a_remedy() -> None:
    with pytest.raises(helm.HelmError, match="add --namespace vgpu-system --create-namespace"):
        helm.render(values=IMAGE, namespace="elsewhere")


def test_only_the_agent_has_rights_on_its_node() -> None:
    privileged = [name for name, each in containers() if each["securityContext"].get("privileged")]

    assert privileged == ["vgpu-agent"]
    for name, template in pod_templates().items():
        if name != "vgpu-agent":
            assert template["spec"]["securityContext"]["runAsNonRoot"] is True
    for name, each in containers():
        assert each["securityContext"]["readOnlyRootFilesystem"] is True
        assert name == "vgpu-agent" or each["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_a_process_that_ends_leaves_its_last_words_in_the_pods_status() -> None:
    """Without its log too, `kubectl describe pod` and `kubectl vgpu check` show them."""
    values = {**IMAGE, "hami.aliases": True}
    kinds = ("Deployment", "DaemonSet", "Job", "CronJob")
    workloads = [each["spec"] for each in helm.render(values=values) if each["kind"] in kinds]
    pods = [each.get("jobTemplate", {"spec": each})["spec"]["template"]["spec"] for each in workloads]
    policies = {each.get("terminationMessagePolicy") for pod in pods for each in pod["containers"]}

    assert len(pods) == len(COMPONENTS) + len(["aliases", "Job", "CronJob"])
    assert policies == {"FallbackToLogsOnError"}


def test_tenants_who_may_view_a_namespace_see_its_claims_and_no_ledger() -> None:
    aggregated = {
        (role, resource)
        for name, each in of_kind(plain(), "ClusterRole").items()
        for role in ("view", "edit", "admin")
        if each["metadata"].get("labels", {}).get(f"rbac.authorization.k8s.io/aggregate-to-{role}")
        for rule in each["rules"]
        for resource in rule["resources"]
    }

    assert aggregated == {("view", "vgpuclaims"), ("view", "vgpuclaims/status"), ("edit", "vgpuclaims")}


def test_whoever_is_on_call_reads_what_the_command_line_shows_and_writes_nothing() -> None:
    role = of_kind(plain(), "ClusterRole")["vgpu-on-call"]
    granted = {
        (resource, verb) for rule in role["rules"] for resource in rule["resources"] for verb in rule["verbs"]
    }
    bound = {each["roleRef"]["name"] for each in of_kind(plain(), "ClusterRoleBinding").values()}

    assert {(each, "list") for each in ("vgpupools", "vgpuclaims", "vgpunodes", "events")} <= granted
    assert {(resource, verb) for resource, verb in granted if verb not in {"get", "list", "watch"}} == {
        ("subjectaccessreviews", "create")  # asks who may do what, stores nothing
    }
    assert "secrets" not in {resource for resource, _ in granted}
    assert "vgpu-on-call" not in bound


def test_one_image_holds_everything_but_kube_scheduler() -> None:
    images = {each["image"] for _, each in containers() if each["name"] != "kube-scheduler"}

    assert len(images) == 1


def test_every_account_that_a_pod_uses_is_installed() -> None:
    used = {template["spec"]["serviceAccountName"] for template in pod_templates().values()}

    assert used <= of_kind(plain(), "ServiceAccount").keys()


def test_what_is_reachable_is_what_is_listened_on() -> None:
    listening = {
        name: {
            port["containerPort"] for each in template["spec"]["containers"] for port in each.get("ports", [])
        }
        for name, template in pod_templates().items()
        if not name.startswith("vgpu-certificates")
    }
    policies = of_kind(plain(), "NetworkPolicy")
    reachable = {
        name: {port["port"] for rule in each["spec"].get("ingress", []) for port in rule["ports"]}
        for name, each in policies.items()
    }

    assert reachable == {**listening, "vgpu-certificates": set()}


def test_every_process_is_watched() -> None:
    documents = helm.render(
        *PROMETHEUS, values={**IMAGE, **MONITORING, "monitoring.labels": {"release": "p"}}
    )
    monitors = of_kind(documents, "PodMonitor")
    named = {
        name: {port["name"] for each in template["spec"]["containers"] for port in each.get("ports", [])}
        for name, template in pod_templates().items()
        if not name.startswith("vgpu-certificates")
    }

    scraped = {
        name: {end["port"] for end in each["spec"]["podMetricsEndpoints"]} for name, each in monitors.items()
    }
    assert scraped == named
    assert all(each["metadata"]["labels"]["release"] == "p" for each in monitors.values())


def test_alerts_and_dashboards_come_whole() -> None:
    documents = helm.render(*PROMETHEUS, values={**IMAGE, **MONITORING})
    rules = [yaml.safe_load(each.read_text()) for each in sorted((helm.CHART / "alerts").glob("*.yaml"))]
    boards = {each.name: each.read_text() for each in (helm.CHART / "dashboards").glob("*.json")}

    [installed] = of_kind(documents, "PrometheusRule").values()
    shown = [each["data"] for name, each in of_kind(documents, "ConfigMap").items() if "dashboard" in name]
    assert installed["spec"]["groups"] == list(
        itertools.chain.from_iterable(each["groups"] for each in rules)
    )
    assert boards
    assert {name: json.loads(text) for each in shown for name, text in each.items()} == {
        name: json.loads(text) for name, text in boards.items()
    }


def test_hamis_words_are_heard_only_where_they_are_asked_for() -> None:
    asked = helm.render(values={**IMAGE, "hami.aliases": True})
    heard = of_kind(asked, "MutatingWebhookConfiguration")["vgpu-admission"]["webhooks"]
    usual = of_kind(plain(), "MutatingWebhookConfiguration")["vgpu-admission"]["webhooks"]

    assert heard[1:] == usual
    assert heard[0]["clientConfig"]["service"]["path"] == app.ALIASES[0].path
    assert all(f"'{each}'" in heard[0]["matchConditions"][0]["expression"] for each in hami.ALIASES[:4])
    assert {"vgpu-aliases"} == of_kind(asked, "Deployment").keys() - of_kind(plain(), "Deployment").keys()


def test_the_pool_that_is_proposed_at_the_end_is_one() -> None:
    labels = {"agent.nodeSelector": {"pool": "a", "zone": "b"}}
    where = ["--namespace", NAMESPACE, "--dry-run=client"]
    said = helm.run("install", helm.RELEASE, str(helm.CHART), *where, *helm.flags({**IMAGE, **labels}))

    proposed = said.partition("kubectl apply -f - <<EOF\n")[2].partition("\nEOF\n")[0]
    pool = pool_api.to_values(yaml.safe_load(proposed))
    assert pool.is_default
    assert {"pool": "a", "zone": "b"}.items() <= dict(pool.node_selector.match_labels).items()


def test_the_definitions_can_be_left_to_others() -> None:
    documents = helm.render(values={**IMAGE, "crds.install": False})

    assert not of_kind(documents, "CustomResourceDefinition")


def test_processes_have_the_same_values_in_the_same_order() -> None:
    values = yaml.safe_load((helm.CHART / "values.yaml").read_text())

    for component in COMPONENTS:
        keys = [key for key in values[component] if key != "replicas"]
        assert keys[: len(COMMON_KEYS)] == COMMON_KEYS


def test_every_value_has_a_sentence() -> None:
    lines = (helm.CHART / "values.yaml").read_text().splitlines()
    bare = []
    for before, line in itertools.pairwise(lines):
        leaf = re.match(r"^ *([a-zA-Z]+):(.*)$", line)
        if leaf and not before.strip().startswith("#") and _explained_here(leaf, lines):
            bare.append(line)

    assert bare == []


def _explained_here(leaf: re.Match[str], lines: list[str]) -> bool:
    """Whether a line is a value of the chart's: not a group of them, nor a part of a Kubernetes object."""
    values = yaml.safe_load("\n".join(lines))
    groups = {*values, *(key for each in values.values() if isinstance(each, dict) for key in each)}
    name = leaf[1]
    is_group = not leaf[2].strip() and name in {*COMPONENTS, "image", "crds", "certificates", "monitoring"}
    return name in groups and not is_group and name not in ("networkPolicy", "hami", "kubeScheduler")


def settings_on_pages() -> Iterator[tuple[str, str]]:
    """Every --set of the documentation with its page, in whole commands and in running text."""
    for page in commands.pages():
        for given in re.findall(r"--set ([\w.]+=[^\s`)]+)", page.read_text()):
            yield page.name, given


@pytest.mark.parametrize(("page", "given"), sorted({*settings_on_pages()}))
def test_the_chart_renders_with_what_the_pages_set(page: str, given: str) -> None:
    own = {"certificates.secretName": "own", "certificates.authority": PEM} if "Provided" in given else {}

    documents = helm.render("--set", given, *PROMETHEUS, CERT_MANAGER, values={**IMAGE, **own})

    assert of_kind(documents, "Deployment")


def test_nothing_may_be_set_that_is_not_named() -> None:
    schema = json.loads((helm.CHART / "values.schema.json").read_text())
    values = yaml.safe_load((helm.CHART / "values.yaml").read_text())

    assert set(_named(schema)) - {"global"} == set(_paths(values, schema))


def _named(schema: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """The dotted names of all values in the schema; each group of them is closed."""
    assert schema["additionalProperties"] is False, prefix
    for name, below in schema["properties"].items():
        yield f"{prefix}{name}"
        if "properties" in below:
            yield from _named(below, f"{prefix}{name}.")


def _paths(values: dict[str, Any], schema: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in values.items():
        yield f"{prefix}{name}"
        below = schema["properties"][name]
        if "properties" in below:
            yield from _paths(value, below, f"{prefix}{name}.")
