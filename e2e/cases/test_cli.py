"""kubectl vgpu against a real API server: what it shows and changes, and the faults that check finds."""

import asyncio
import base64
import contextlib
import dataclasses
import datetime
import json
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from vgpu.api import names
from vgpu_e2e import gpunodes, objects, platform, process
from vgpu_e2e.team import Team

pytestmark = pytest.mark.asyncio(loop_scope="module")
BED = {"nodes": 2}
POOLS = [objects.pool()]
ROLES = "/apis/rbac.authorization.k8s.io/v1/clusterroles"
REGISTRATIONS = "/apis/admissionregistration.k8s.io/v1"
POOL = f"/apis/{names.API_VERSION}/{names.POOL_PLURAL}/a100"
STATUS_SECONDS = 0.3
FLOOR, CEILING = objects.amounts("20Gi", 40), objects.amounts("60Gi", 100)


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """How the command ended."""

    code: int
    output: str
    complaint: str


async def vgpu(bed: platform.Bed, *arguments: str, identity: Path | None = None) -> Answer:
    """Run kubectl vgpu as a user would."""
    command = [sys.executable, "-m", "vgpu_cli", "--kubeconfig", str(identity or bed.plane.admin), *arguments]
    child = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, complaint = await child.communicate()
    assert child.returncode is not None
    assert b"Traceback" not in complaint, complaint.decode()
    return Answer(child.returncode, output.decode(), complaint.decode())


async def faults(bed: platform.Bed, namespace: str, *arguments: str) -> list[dict[str, Any]]:
    """What check finds wrong, and that its exit code says so."""
    answer = await vgpu(bed, "check", "-n", namespace, "-o", "json", *arguments)
    found = [each for each in json.loads(answer.output) if each["verdict"] == "Fault"]
    assert answer.code == (1 if found else 0)
    return found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def serving(bed: platform.Bed) -> AsyncIterator[Team]:
    """A team whom nobody changes, with a claim and two pods that run in its slices."""
    settled = Team(bed.api, "serving")
    await settled.arrive()
    await _serve(settled)
    yield settled
    await settled.leave()


async def _serve(team: Team) -> None:
    await team.claim("llm", requests=FLOOR, limits=CEILING)
    await team.run("llm", 2)
    await team.bound(2)
    await team.condition("llm", "Ready", reason="SlicesReady")


async def test_status_tree_and_explain_tell_the_same_story(bed: platform.Bed, serving: Team) -> None:
    status = await vgpu(bed, "status", "-n", serving.namespace)
    tree = await vgpu(bed, "tree", "-n", serving.namespace)
    story = await vgpu(bed, "explain", "claim", "llm", "-n", serving.namespace)
    pod = await vgpu(bed, "explain", "pod", "llm-0", "-n", serving.namespace)

    assert "1 claim ready" in status.output
    assert tree.output.count(f"{serving.namespace}/llm") == 2
    assert story.output.startswith(f"claim {serving.namespace}/llm of pool a100: ready")
    assert "Added by vgpu-admission" in pod.output
    assert "schedulerName vgpu-scheduler" in pod.output
    assert {each.code for each in (status, tree, story, pod)} == {0}


async def test_kubectl_finds_the_command_and_its_words(bed: platform.Bed, serving: Team) -> None:
    found = {"PATH": str(Path(sys.executable).parent), "HOME": str(bed.plane.directory)}

    async def kubectl(*arguments: str) -> str:
        child = await asyncio.create_subprocess_exec(
            bed.plane.binaries / "kubectl", *arguments, stdout=asyncio.subprocess.PIPE, env=found
        )
        output, _ = await child.communicate()
        assert child.returncode == 0
        return output.decode()

    shown = await kubectl("vgpu", "status", "-n", serving.namespace, "--kubeconfig", str(bed.plane.admin))
    words = await kubectl("__complete", "vgpu", "stat")

    assert "1 claim ready" in shown
    assert "status" in words.splitlines()


async def test_a_resize_reaches_the_slices_and_a_dry_run_does_not(bed: platform.Bed, team: Team) -> None:
    await _serve(team)
    words = ("resize", "llm", "-n", team.namespace, "--requests", "computePercent=50")

    rehearsed = await vgpu(bed, *words, "--dry-run", "-o", "json")
    claim = await bed.api.get(f"{team.claims_path}/llm")
    assert claim["spec"]["resources"]["requests"] == FLOOR
    carried_out = await vgpu(bed, *words, "-o", "json")

    assert json.loads(rehearsed.output)["slices"] == json.loads(carried_out.output)["slices"]
    await process.until(lambda: _holds(team, 100), timeout_seconds=20, awaited="two slices of 50 % each")


async def _holds(team: Team, compute_percent: int) -> bool:
    allocated: dict[str, Any] = (await team.status("llm"))["allocated"]
    return bool(allocated["computePercent"] == compute_percent)


async def test_the_api_servers_refusal_of_a_resize_is_shown_in_words(
    bed: platform.Bed, serving: Team
) -> None:
    words = ("--requests", "memory=500Gi", "--limits", "memory=500Gi", "--dry-run")

    answer = await vgpu(bed, "resize", "llm", "-n", serving.namespace, *words)

    assert answer.code == 1
    assert "fit the largest device of pool 'a100'" in answer.complaint


async def test_nothing_new_lands_on_cordoned_devices(bed: platform.Bed, team: Team) -> None:
    await team.claim("whole", requests=objects.amounts("70Gi", 10))
    every = [f"gpu-{node}/{index}" for node in (0, 1) for index in (0, 1)]

    cordoned = await vgpu(bed, "cordon", *every[:3])
    try:
        await team.run("whole", 2)
        [pod] = await team.bound(1)
        waiting = await team.condition("whole", "Bound", reason="NoFit")
    finally:
        uncordoned = await vgpu(bed, "uncordon", *every[:3])

    assert (cordoned.code, uncordoned.code) == (0, 0)
    assert pod["metadata"]["annotations"][names.DEVICES_ANNOTATION] == gpunodes.device_uuid("gpu-1", 1)
    assert "waits" in waiting["message"]
    await team.bound(2)


async def test_a_tenant_sees_pools_and_its_claims_and_is_told_what_it_may_not(
    bed: platform.Bed, serving: Team
) -> None:
    account = {"apiVersion": "v1", "kind": "ServiceAccount"}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"}
    metadata = {"name": "dev", "namespace": serving.namespace}
    subject = {"kind": "ServiceAccount", **metadata}
    binding = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": metadata}
    await bed.apply([account | {"metadata": metadata}, binding | {"roleRef": role, "subjects": [subject]}])
    tenant = await bed.plane.kubeconfig_for("dev", serving.namespace)

    seen = await vgpu(bed, "status", "-n", serving.namespace, identity=tenant)
    refused = await vgpu(bed, "tree", identity=tenant)

    assert "1 claim ready" in seen.output
    assert refused.code == 1
    assert "expected permission" in refused.complaint


async def test_status_needs_less_than_a_third_of_a_second(bed: platform.Bed, serving: Team) -> None:
    """Processor time, which others on the machine do not lengthen as they do time on the wall."""
    script = (
        "import resource, subprocess, sys;"
        " subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True);"
        " used = resource.getrusage(resource.RUSAGE_CHILDREN); print(used.ru_utime + used.ru_stime)"
    )
    command = [sys.executable, "-m", "vgpu_cli", "--kubeconfig", str(bed.plane.admin), "status", "-A"]
    best = float("inf")
    for _ in range(20):  # caches shared with busy neighbours lengthen processor time as well
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", script, *command, stdout=asyncio.subprocess.PIPE
        )
        output, _ = await child.communicate()
        best = min(best, float(output))
        if best <= STATUS_SECONDS:
            break

    assert best <= STATUS_SECONDS


async def test_a_sound_platform_passes_the_check(bed: platform.Bed, serving: Team) -> None:
    assert await faults(bed, serving.namespace) == []


async def test_check_finds_a_webhook_that_is_down(bed: platform.Bed, serving: Team) -> None:
    await bed.admission.process.killed()
    try:
        found = await faults(bed, serving.namespace)
    finally:
        bed.admission.process.start()
        await bed.admission.ready()

    assert [each["step"] for each in found] == ["admission"]
    assert "do not answer" in found[0]["message"]


async def test_check_finds_an_expired_authority(bed: platform.Bed, serving: Team) -> None:
    path = f"{REGISTRATIONS}/validatingwebhookconfigurations/vgpu-admission"

    async with _changed(bed, path, lambda raw: _trust(raw, _expired())):
        await process.until(
            lambda: _refuses(bed, serving.namespace),
            timeout_seconds=20,
            awaited="an x509 error of the API server",
        )
        found = await faults(bed, serving.namespace)

    assert {each["step"] for each in found} == {"admission", "certificates"}
    assert any("expired on" in each["message"] for each in found)
    assert any("does not trust" in each["message"] for each in found)


async def _refuses(bed: platform.Bed, namespace: str) -> bool:
    return any(each["step"] == "admission" for each in await faults(bed, namespace))


async def test_check_finds_a_hole_in_the_roles(bed: platform.Bed, serving: Team) -> None:
    def without_nodes(raw: dict[str, Any]) -> None:
        raw["rules"] = [each for each in raw["rules"] if "vgpunodes" not in each["resources"]]

    async with _changed(bed, f"{ROLES}/vgpu-admission", without_nodes):
        await process.until(
            lambda: _steps(bed, serving.namespace, {"permissions"}),
            timeout_seconds=20,
            awaited="the smaller role",
        )


async def test_check_finds_an_absent_agent_and_a_stale_one(bed: platform.Bed, serving: Team) -> None:
    shape, now = gpunodes.NodeShape(), datetime.datetime.now(datetime.UTC)
    lonely = await bed.api.create(gpunodes.NODES, gpunodes.node("lonely", shape, now=now))
    old = {"status": {"heartbeatTime": "2026-01-01T00:00:00Z"}}
    await bed.api.patch(f"{gpunodes.VGPU_NODES}/gpu-1/status", old)
    try:
        found = {each["step"]: each for each in await faults(bed, serving.namespace)}
    finally:
        await gpunodes.delete_node(bed.api, lonely["metadata"]["name"])
        fresh = {"status": {"heartbeatTime": gpunodes.timestamp(now)}}
        await bed.api.patch(f"{gpunodes.VGPU_NODES}/gpu-1/status", fresh)

    assert "lonely" in found["agents"]["message"]
    assert "gpu-1" in found["heartbeats"]["message"]


async def test_check_finds_a_typo_in_a_quota(bed: platform.Bed, serving: Team) -> None:
    lines = [
        objects.quota(each, objects.amounts("320Gi", 800))
        for each in (serving.namespace, f"{serving.namespace}x")
    ]

    async with _changed(bed, POOL, lambda raw: raw["spec"].update(quotas=lines)):
        [found] = await faults(bed, serving.namespace)

    assert found["step"] == "quotas"
    assert f"did you mean {serving.namespace}?" in found["remedy"]


async def test_check_finds_an_agent_that_cannot_load_the_shim(bed: platform.Bed, serving: Team) -> None:
    said = "vgpu-agent: /app/libvgpu.so is no libvgpu.so that can be loaded: wrong ELF class"
    ended = {"exitCode": 1, "message": said}
    status = {"name": "main", "image": "", "imageID": "", "ready": False, "restartCount": 1}
    account = f"/api/v1/namespaces/{platform.NAMESPACE}/pods"
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "agent", "labels": {"app.kubernetes.io/name": "vgpu-agent"}},
        "spec": {"containers": [{"name": "main", "image": objects.IMAGE}], "schedulerName": "nobody"},
    }
    await bed.api.create(account, pod)
    states = [{**status, "state": {"terminated": ended}}]
    await bed.api.patch(f"{account}/agent/status", {"status": {"containerStatuses": states}})
    try:
        found = await faults(bed, serving.namespace)
    finally:
        await bed.api.delete(f"{account}/agent", {"gracePeriodSeconds": 0})

    assert [each["step"] for each in found] == ["shim"]
    assert "wrong ELF class" in found[0]["message"]


async def test_check_finds_a_prometheus_that_does_not_answer(bed: platform.Bed, serving: Team) -> None:
    [found] = await faults(bed, serving.namespace, "--prometheus-url", "http://127.0.0.1:9")

    assert found["step"] == "prometheus"


async def _steps(bed: platform.Bed, namespace: str, wanted: set[str]) -> bool:
    return {each["step"] for each in await faults(bed, namespace)} == wanted


@contextlib.asynccontextmanager
async def _changed(bed: platform.Bed, path: str, change: Callable[[Any], None]) -> AsyncIterator[None]:
    """An object in another state for a while."""
    before = await bed.api.get(path)
    after = json.loads(json.dumps(before))
    change(after)
    parts = [part for part in ("spec", "rules", "webhooks") if part in before]
    await bed.api.patch(path, {part: after[part] for part in parts})
    try:
        yield
    finally:
        await bed.api.patch(path, {part: {**_absent(after, before, part)} or before[part] for part in parts})


def _absent(after: dict[str, Any], before: dict[str, Any], part: str) -> dict[str, Any]:
    """A merge patch has to name what was added, to take it away again."""
    if not isinstance(before[part], dict):
        return {}
    return {**dict.fromkeys(after[part].keys() - before[part].keys()), **before[part]}


def _trust(raw: dict[str, Any], bundle: str) -> None:
    for each in raw["webhooks"]:
        each["clientConfig"]["caBundle"] = bundle


def _expired() -> str:
    key, ended = ec.generate_private_key(ec.SECP256R1()), datetime.datetime(2025, 1, 1, tzinfo=datetime.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "another authority")])
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(1).not_valid_before(ended - datetime.timedelta(days=30)).not_valid_after(ended)
    pem = made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    return base64.b64encode(pem).decode()
