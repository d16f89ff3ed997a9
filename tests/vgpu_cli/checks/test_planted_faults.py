"""One sound platform, and one fault planted at a time: each is found and nothing else is."""

import base64
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from town import NOW, Town, add_claim, add_node, add_pool, amounts, condition
from vgpu.api import names
from vgpu_cli.checks import kinds, steps
from vgpu_cli.checks.finding import Finding, Probe, Verdict
from vgpu_cli.cluster import Session
from vgpu_cli.reading import SYSTEM
from vgpu_kube import errors
from vgpu_kube.objects import Object
from vgpu_kube.resources import (
    CONFIGMAPS,
    CSI_DRIVERS,
    DEPLOYMENTS,
    EVENTS,
    LEASES,
    NAMESPACES,
    NODES,
    PODS,
    VGPU_NODES,
    VGPU_POOLS,
    Resource,
)

Plant = Callable[[Town], None]

SCHEDULER = """
kind: KubeSchedulerConfiguration
profiles: [{schedulerName: vgpu-scheduler}]
extenders: [{managedResources: [{name: vgpu.dev/slice, ignoredByScheduler: true}]}]
"""
PROMETHEUS_PATH = "/api/v1/namespaces/monitoring/services/prometheus:9090/proxy/-/ready"


def bundle(*, ends: datetime) -> str:
    """A certificate that is good until then, as a registration carries it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "vgpu")])
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(1).not_valid_before(ends - timedelta(days=400)).not_valid_after(ends)
    pem = made.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)
    return base64.b64encode(pem).decode()


def register(town: Town, *, ends: datetime) -> None:
    trust = {"clientConfig": {"caBundle": bundle(ends=ends)}}
    for resource, verb in ((kinds.MUTATING_WEBHOOKS, "mutate"), (kinds.VALIDATING_WEBHOOKS, "validate")):
        webhooks = [{"name": f"{each}.{verb}.vgpu.dev", **trust} for each in ("pods", "claims")]
        town.add(resource, {"metadata": {"name": "vgpu-admission"}, "webhooks": webhooks})


@pytest.fixture
def whole(town: Town) -> Town:
    """A platform with everything in place."""
    kinds_ = [{"name": each} for each in ("vgpupools", "vgpuclaims", "vgpunodes", "vgpunodes/status")]
    town.texts[f"/apis/{names.API_VERSION}"] = json.dumps({"resources": kinds_})
    town.texts[PROMETHEUS_PATH] = "ready"
    register(town, ends=NOW + timedelta(days=300))
    town.add(CONFIGMAPS, {"metadata": {"name": "vgpu-scheduler"}, "data": {"config.yaml": SCHEDULER}}, SYSTEM)
    lease = {"holderIdentity": "extender-0", "renewTime": "2026-01-01T11:59:58Z", "leaseDurationSeconds": 8}
    town.add(LEASES, {"metadata": {"name": "vgpu-extender"}, "spec": lease}, SYSTEM)
    town.add(CSI_DRIVERS, {"metadata": {"name": names.CSI_DRIVER}})
    for name in ("gpu-0", "gpu-1"):
        add_node(town, name)
        town.add(NODES, {"metadata": {"name": name, "labels": {"gpu": "a100"}}})
    for name in ("team-a", "team-b", SYSTEM):
        town.add(NAMESPACES, {"metadata": {"name": name}})
    add_pool(town)
    add_claim(town, "llm", "team-a", pods=1)
    operator = {"name": "operator", "args": ["--prometheus-url=http://prometheus.monitoring:9090"]}
    spec = {"template": {"spec": {"containers": [operator]}}}
    town.add(DEPLOYMENTS, {"metadata": {"name": "vgpu-operator"}, "spec": spec}, SYSTEM)
    return town


async def found(town: Town, **options: Any) -> list[tuple[str, Finding]]:
    async def nowhere(url: str) -> str:
        raise ConnectionRefusedError(f"nothing listens at {url}")

    probe = Probe(session=Session(town, "team-a"), now=NOW.timestamp(), fetch=nowhere, **options)
    return [(name, each) async for name, findings in steps.run(probe) for each in findings]


async def faults(town: Town, **options: Any) -> list[tuple[str, Finding]]:
    return [(name, each) for name, each in await found(town, **options) if each.verdict is Verdict.FAULT]


async def test_a_sound_platform_has_no_fault_and_nothing_is_skipped(whole: Town) -> None:
    assert {each.verdict for _, each in await found(whole)} == {Verdict.SOUND}


def _replace(town: Town, resource: Any, name: str, change: Callable[[Object], None]) -> None:
    raw = next(each for each in town.objects(resource) if each["metadata"]["name"] == name)
    change(raw)
    town.remove(resource, name, raw["metadata"].get("namespace"))
    town.add(resource, raw)


def _definitions_gone(town: Town) -> None:
    town.texts[f"/apis/{names.API_VERSION}"] = json.dumps({"resources": [{"name": "vgpupools"}]})


def _webhook_down(town: Town) -> None:
    refused = 'failed calling webhook "claims.validate.vgpu.dev": connect: connection refused'
    town.refuse_rehearsals = errors.Unavailable(500, "InternalError", refused)


def _certificate_expired(town: Town) -> None:
    town.remove(kinds.MUTATING_WEBHOOKS, "vgpu-admission")
    town.remove(kinds.VALIDATING_WEBHOOKS, "vgpu-admission")
    register(town, ends=NOW - timedelta(days=2))


def _scheduler_without_extender(town: Town) -> None:
    _replace(
        town,
        CONFIGMAPS,
        "vgpu-scheduler",
        lambda raw: raw["data"].update({"config.yaml": SCHEDULER.replace("extenders", "others")}),
    )


def _scheduler_absent(town: Town) -> None:
    spec = {"schedulerName": names.SCHEDULER_NAME, "containers": [{"name": "main"}]}
    metadata = {"name": "forgotten", "labels": {names.CLAIM_LABEL: "llm"}}
    town.now = NOW - timedelta(hours=1)
    town.add(PODS, {"metadata": metadata, "spec": spec, "status": {"phase": "Pending"}}, "team-a")


def _extender_gone(town: Town) -> None:
    _replace(town, LEASES, "vgpu-extender", lambda raw: raw.update({"spec": {}}))


def _agent_absent(town: Town) -> None:
    town.remove(VGPU_NODES, "gpu-1")


def _agents_not_ready(town: Town) -> None:
    status = {"desiredNumberScheduled": 2, "numberReady": 1}
    town.add(kinds.DAEMON_SETS, {"metadata": {"name": "vgpu-agent"}, "status": status}, SYSTEM)


def _shim_not_loadable(town: Town) -> None:
    said = "vgpu-agent: /app/libvgpu.so is no libvgpu.so that can be loaded: wrong ELF class"
    ended = {"containerStatuses": [{"state": {"terminated": {"message": said}}}]}
    metadata = {"name": "vgpu-agent-x", "labels": {"app.kubernetes.io/name": "vgpu-agent"}}
    spec: Object = {"containers": [{"name": "agent"}]}
    town.add(PODS, {"metadata": metadata, "spec": spec, "status": ended}, SYSTEM)


def _shim_missing_in_the_log(town: Town) -> None:
    status = {"containerStatuses": [{"restartCount": 3, "ready": False, "state": {"waiting": {}}}]}
    metadata = {"name": "vgpu-agent-x", "labels": {"app.kubernetes.io/name": "vgpu-agent"}}
    spec: Object = {"containers": [{"name": "agent"}]}
    town.add(PODS, {"metadata": metadata, "spec": spec, "status": status}, SYSTEM)
    log = f"/api/v1/namespaces/{SYSTEM}/pods/vgpu-agent-x/log?previous=true&tailLines=20&limitBytes=8192"
    town.texts[log] = "starting\nvgpu-agent: libvgpu.so not found in /app: build it\n"


def _limits_refused(town: Town) -> None:
    report = {"state": "Refused", "message": "the shim in the container is of version 1", "memory": "0"}
    _replace(town, VGPU_NODES, "gpu-0", lambda raw: raw["status"]["slices"].update({"pod-1": report}))


def _escaped(town: Town) -> None:
    note = "pod 1 holds 2 GiB of GPU-gpu-0-0 without a slice there"
    event = {"metadata": {"name": "e"}, "reason": "GPUMemoryUnaccounted", "note": note, "regarding": {}}
    town.add(EVENTS, event, "team-a")


def _node_stale(town: Town) -> None:
    old = {"heartbeatTime": "2026-01-01T11:50:00Z"}
    _replace(town, VGPU_NODES, "gpu-1", lambda raw: raw["status"].update(old))


def _quota_typo(town: Town) -> None:
    lines = [{"namespace": each, "nominal": amounts("80Gi", 100)} for each in ("team-a", "taem-b")]
    _replace(town, VGPU_POOLS, "a100", lambda raw: raw["spec"].update({"quotas": lines}))


def _quota_forgotten(town: Town) -> None:
    add_claim(town, "embed", "team-b")


def _prometheus_unreachable(town: Town) -> None:
    del town.texts[PROMETHEUS_PATH]


def _queries_empty(town: Town) -> None:
    missing = condition("ScalingLimited", "Unknown", "MetricsUnavailable", "the query brings no series")
    ready = condition("Ready", "True", "SlicesReady")
    add_claim(town, "blind", "team-a", conditions=[ready, missing])


def _permission_missing(town: Town) -> None:
    town.denied.add(("vgpu-extender", "patch", "vgpunodes"))


def _driver_missing(town: Town) -> None:
    town.remove(CSI_DRIVERS, names.CSI_DRIVER)


def _two_defaults(town: Town) -> None:
    add_pool(town, "b")


PLANTED: list[tuple[str, Plant, str, str]] = [
    ("definitions", _definitions_gone, "not served in vgpu.dev/v1alpha1: vgpuclaims, vgpunodes", "crds/"),
    ("admission", _webhook_down, "the webhooks do not answer", "vgpu-admission"),
    ("certificates", _certificate_expired, "expired on 2025-12-30", "renew"),
    ("scheduler", _scheduler_without_extender, "no extender for vgpu.dev/slice", "kube-scheduler"),
    ("scheduler", _scheduler_absent, "no scheduler has looked at 1 pod", "kube-scheduler"),
    ("scheduler", _extender_gone, "no extender holds the Lease", "kube-scheduler"),
    ("agents", _agent_absent, "no agent has reported 1 node of pool a100: gpu-1", "tolerations"),
    ("agents", _agents_not_ready, "1 of 2 agents are ready", "get pods"),
    ("agents", _driver_missing, "CSIDriver vgpu.dev is not there", "chart"),
    ("shim", _shim_not_loadable, "wrong ELF class", "make -C shim"),
    ("shim", _shim_missing_in_the_log, "libvgpu.so not found in /app", "make -C shim"),
    ("shim", _limits_refused, "the limits of 1 slice were refused", "make -C shim"),
    ("shim", _escaped, "GPU memory outside of slices", "static binaries"),
    ("heartbeats", _node_stale, "1 stale node, last heard of: gpu-1 (10m ago)", "the agent on these nodes"),
    ("pools", _two_defaults, "several pools are the default: a100, b", "is-default-pool"),
    ("quotas", _quota_typo, "names namespace taem-b, which does not exist", "did you mean team-b?"),
    (
        "quotas",
        _quota_forgotten,
        "namespace team-b has claims on pool a100 and no quota",
        "edit vgpupool a100",
    ),
    ("prometheus", _prometheus_unreachable, "does not answer", "prometheusUrl"),
    ("prometheus", _queries_empty, "no numbers for 1 claim (team-a/blind)", "queries"),
    ("permissions", _permission_missing, "vgpu-extender may not: patch vgpunodes.vgpu.dev", "rbac-extender"),
]


@pytest.mark.parametrize(
    ("step", "plant", "message", "remedy"), PLANTED, ids=[p[1].__name__ for p in PLANTED]
)
async def test_a_planted_fault_is_found_alone_with_its_remedy(
    whole: Town, step: str, plant: Plant, message: str, remedy: str
) -> None:
    plant(whole)

    [(where, fault)] = {(name, each.message): (name, each) for name, each in await faults(whole)}.values()

    assert where == step
    assert message in fault.message
    assert remedy in fault.remedy


async def test_a_certificate_the_api_server_refuses_is_no_dead_webhook(whole: Town) -> None:
    expired = "failed calling webhook: tls: x509: certificate has expired or is not yet valid"
    whole.refuse_rehearsals = errors.Unavailable(500, "InternalError", expired)

    [(_, fault)] = await faults(whole)

    assert "does not trust the webhooks" in fault.message
    assert "renew the certificate" in fault.remedy


async def test_a_certificate_about_to_expire_is_a_fault_in_time(whole: Town) -> None:
    expiring = {"tls.crt": bundle(ends=NOW + timedelta(days=5))}
    whole.add(
        kinds.SECRETS,
        {"metadata": {"name": "vgpu-admission"}, "type": "kubernetes.io/tls", "data": expiring},
        SYSTEM,
    )

    [(step, fault)] = await faults(whole)

    assert step == "certificates"
    assert "expires in 5d" in fault.message


async def test_what_may_not_be_read_is_skipped_and_never_sound(whole: Town) -> None:
    whole.fail_next(errors.Forbidden(403, "Forbidden", "no"), resource=VGPU_NODES, times=100)

    of_nodes = [each for name, each in await found(whole) if name in {"agents", "heartbeats", "shim"}]

    assert {each.verdict for each in of_nodes} == {Verdict.SKIPPED}


@pytest.mark.parametrize("hidden", [kinds.MUTATING_WEBHOOKS, kinds.SECRETS, LEASES, CONFIGMAPS, PODS, EVENTS])
async def test_what_is_hidden_does_not_hide_the_rest(whole: Town, hidden: Resource) -> None:
    whole.fail_next(errors.Forbidden(403, "Forbidden", "no"), resource=hidden, times=100)

    seen = await found(whole)

    assert {name for name, each in seen if each.verdict is Verdict.SOUND} >= {"admission", "agents", "quotas"}
    assert any(each.verdict is Verdict.SKIPPED for _, each in seen)
    assert not any(each.verdict is Verdict.FAULT for _, each in seen)


async def test_a_prometheus_outside_the_cluster_is_asked_from_here(whole: Town) -> None:
    [(_, fault)] = await faults(whole, prometheus_url="http://127.0.0.1:9090")

    assert "nothing listens at http://127.0.0.1:9090/-/ready" in fault.message
