"""kubectl vgpu check against a real API server: it finds nothing wrong, or the fault that was planted."""

import base64
import contextlib
import datetime
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from vgpu.api import names
from vgpu_e2e import command, gpunodes, objects, platform, process
from vgpu_e2e.team import Team

pytestmark = pytest.mark.asyncio(loop_scope="module")
BED = {"nodes": 2}
POOLS = [objects.pool()]
ROLES = "/apis/rbac.authorization.k8s.io/v1/clusterroles"
REGISTRATIONS = "/apis/admissionregistration.k8s.io/v1"
POOL = f"/apis/{names.API_VERSION}/{names.POOL_PLURAL}/a100"
FLOOR, CEILING = objects.amounts("20Gi", 40), objects.amounts("60Gi", 100)


async def faults(bed: platform.Bed, namespace: str, *arguments: str) -> list[dict[str, Any]]:
    """What check finds wrong, and that its exit code says so."""
    answer = await command.run(bed, "check", "-n", namespace, "-o", "json", *arguments)
    found = [each for each in json.loads(answer.output) if each["verdict"] == "Fault"]
    assert answer.code == (1 if found else 0)
    return found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def serving(bed: platform.Bed) -> AsyncIterator[Team]:
    """A team whom nobody changes, with a claim and two pods that run in its slices."""
    settled = Team(bed.api, "serving")
    await settled.arrive()
    await settled.claim("llm", requests=FLOOR, limits=CEILING)
    await settled.run("llm", 2)
    await settled.bound(2)
    await settled.condition("llm", "Ready", reason="SlicesReady")
    yield settled
    await settled.leave()


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


async def test_check_finds_a_wired_scheduler_that_has_stopped(
    bed: platform.Bed, serving: Team, team: Team
) -> None:
    """kube-scheduler and extender, each by what it leaves undone."""

    async def says(words: str) -> bool:
        found = await faults(bed, serving.namespace)
        return any(each["step"] == "scheduler" and words in each["message"] for each in found)

    for scheduler in bed.schedulers:
        await scheduler.process.killed()
    try:
        await _leave_unseen(bed, team)
        await process.until(
            lambda: says("has not renewed the Lease"), timeout_seconds=60, awaited="a Lease nobody renews"
        )
        for extender in bed.extenders:
            extender.process.start()
        await process.until(
            lambda: says("no scheduler has looked at 1 pod"), timeout_seconds=90, awaited="a pod nobody sees"
        )
    finally:
        for child in (*(each.process for each in bed.extenders), *(each.process for each in bed.schedulers)):
            if not child.running:
                child.start()

    await team.bound(1)


async def _leave_unseen(bed: platform.Bed, team: Team) -> None:
    """A pod that has its turn, and then no extender either."""
    await team.claim("late", requests=FLOOR)
    [name] = await team.run("late")

    async def ungated() -> bool:
        return not (await bed.api.get(f"{team.pods_path}/{name}"))["spec"].get("schedulingGates")

    await process.until(ungated, timeout_seconds=20, awaited="the pod's turn")
    for each in bed.extenders:
        await each.process.killed()


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
