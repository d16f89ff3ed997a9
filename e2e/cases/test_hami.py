"""Pods in HAMi's vocabulary run as they are, where the chart's aliases are on."""

import sys
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from vgpu.api import names
from vgpu_e2e import controlplane, helm, manifests, objects, platform, probes, process, rest
from vgpu_e2e.platform import NAMESPACE, REPOSITORY, ROOMS
from vgpu_e2e.rest import Object
from vgpu_e2e.team import Team

pytestmark = pytest.mark.asyncio(loop_scope="module")
BED = {"nodes": 2}
POOLS = [objects.pool()]
ALIASES = "vgpu-aliases"


@pytest_asyncio.fixture(scope="module", loop_scope="module", autouse=True)
async def aliases(bed: platform.Bed) -> AsyncIterator[None]:
    """What hami.aliases adds to an installation: rights, a process, a webhook."""
    rendered = helm.render(values={"hami.aliases": True, "scheduler.kubeScheduler.image": "unused"})
    rights = ("ServiceAccount", "ClusterRole", "ClusterRoleBinding")
    ours = [each for each in rendered if each["metadata"]["name"] == ALIASES and each["kind"] in rights]
    await bed.apply(ours)
    started = await _start(bed)
    authority = bed.plane.authority.certificate.read_bytes()
    [hooks] = [each for each in rendered if each["kind"] == "MutatingWebhookConfiguration"]
    await bed.apply([manifests.point_webhooks_at(hooks, url=bed.admission.url, authority=authority)])
    await process.until(lambda: _heard(bed), timeout_seconds=30, awaited="the webhook to be heard")
    yield
    await started.stop()


async def _start(bed: platform.Bed) -> process.Process:
    identity = await bed.plane.kubeconfig_for(ALIASES, NAMESPACE)
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(str(REPOSITORY / room) for room in ROOMS)}

    def made(ports: list[int]) -> process.Process:
        options = controlplane.flags({"kubeconfig": identity, "metrics-port": ports[0]})
        command = [sys.executable, "-m", "vgpu_webhooks.aliases", *options]
        return bed.plane.child(ALIASES, command, environment=environment)

    started, _ = await process.start_on_free_ports(
        made, lambda ports: probes.answers(f"http://127.0.0.1:{ports[0]}/readyz"), count=1, awaited="/readyz"
    )
    return started


def _pod(name: str, limits: Object, **annotations: str) -> Object:
    container = {"name": "main", "image": objects.IMAGE, "resources": {"limits": limits}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "annotations": annotations},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 0},
    }


async def _heard(bed: platform.Bed) -> bool:
    """Whether a pod that no claim could stand for is refused in our words."""
    try:
        path = "/api/v1/namespaces/default/pods"
        forbidden = _pod("forbidden", {"nvidia.com/gpucores": "101"})
        await bed.api.request("POST", path, forbidden, parameters={"dryRun": "All"})
    except rest.StatusError as refusal:
        return "from 0 to 100 in nvidia.com/gpucores" in str(refusal)
    return False


async def test_a_pod_gets_a_slice_of_what_it_asks_in_hamis_words(team: Team) -> None:
    limits = {"nvidia.com/gpu": "1", "nvidia.com/gpumem": "8000", "nvidia.com/gpucores": "30"}
    await team.api.create(team.pods_path, _pod("p", limits, **{"nvidia.com/use-gputype": "A100"}))

    [pod] = await team.bound(1)

    slices: list[Object] = []

    async def told() -> bool:
        status = await team.status(pod["metadata"]["labels"][names.CLAIM_LABEL])
        slices[:] = status.get("allocations", [])
        return bool(slices)

    await process.until(told, timeout_seconds=20, awaited="the slice in the claim's status")
    assert [(each["memory"], each["computePercent"]) for each in slices] == [("8000Mi", 30)]
    assert "nvidia.com/gpu" not in pod["spec"]["containers"][0]["resources"]["limits"]


async def test_replicas_share_a_claim_that_goes_with_their_owner(team: Team) -> None:
    deployment = objects.deployment("web", "unused", team.namespace, replicas=3)
    template = deployment["spec"]["template"]
    del template["metadata"]["labels"][names.CLAIM_LABEL]
    template["spec"]["containers"][0]["resources"] = {"limits": {"nvidia.com/gpumem": "1000"}}
    await team.api.apply([deployment])

    pods = await team.bound(3)

    assert len({each["metadata"]["labels"][names.CLAIM_LABEL] for each in pods}) == 1
    await team.api.delete(f"/apis/apps/v1/namespaces/{team.namespace}/deployments/web")

    async def gone() -> bool:
        claims, _ = await team.api.list(team.claims_path)
        return not claims

    await process.until(gone, timeout_seconds=60, awaited="the claim to go with its ReplicaSet")


async def test_pods_that_hami_would_leave_alone_are_left_alone(team: Team) -> None:
    plain = _pod("plain", {"cpu": "1"})
    ignored = _pod("ignored", {"nvidia.com/gpu": "1"})
    ignored["metadata"]["labels"] = {"hami.io/webhook": "ignore"}

    for pod in (plain, ignored):
        found = await team.api.create(team.pods_path, pod)
        assert names.CLAIM_LABEL not in found["metadata"].get("labels", {})
