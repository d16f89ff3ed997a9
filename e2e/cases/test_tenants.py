"""What a tenant may do: claims and labelled pods in its own namespace, and nothing else of ours."""

import pytest
import pytest_asyncio

from vgpu.api import names
from vgpu_e2e import objects, platform, rest
from vgpu_e2e.team import Team

pytestmark = pytest.mark.asyncio(loop_scope="module")
BED = {"nodes": 1}
POOLS = [objects.pool()]
NODE_PATH = f"/apis/{names.API_VERSION}/{names.NODE_PLURAL}/gpu-0"
POOL_PATH = f"/apis/{names.API_VERSION}/{names.POOL_PLURAL}/a100"


@pytest_asyncio.fixture(loop_scope="module")
async def tenant(bed: platform.Bed, team: Team) -> rest.API:
    """The team's own account, with the edit role in its namespace."""
    await bed.apply(
        [
            {
                "apiVersion": "v1",
                "kind": "ServiceAccount",
                "metadata": {"name": "dev", "namespace": team.namespace},
            },
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "RoleBinding",
                "metadata": {"name": "dev", "namespace": team.namespace},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"},
                "subjects": [{"kind": "ServiceAccount", "name": "dev", "namespace": team.namespace}],
            },
        ]
    )
    return await bed.plane.api_for("dev", team.namespace)


async def _refused(request: object) -> str:
    with pytest.raises(rest.StatusError) as found:
        await request  # type: ignore[misc]  # any coroutine
    assert found.value.code in {403, 422}
    return str(found.value)


async def test_a_tenant_creates_claims_and_labelled_pods(team: Team, tenant: rest.API) -> None:
    async with tenant:
        await tenant.create(team.claims_path, objects.claim("llm", team.namespace))
        await tenant.create(team.pods_path, objects.pod("mine", "llm", team.namespace))

    await team.bound(1)


async def test_a_tenant_reads_pools_and_changes_none(team: Team, tenant: rest.API) -> None:
    async with tenant:
        assert (await tenant.get(POOL_PATH))["kind"] == names.POOL_KIND
        await _refused(tenant.patch(POOL_PATH, {"spec": {"quotas": []}}))
        await _refused(tenant.create(f"/apis/{names.API_VERSION}/{names.POOL_PLURAL}", objects.pool("own")))


async def test_a_tenant_never_touches_the_ledger(team: Team, tenant: rest.API) -> None:
    async with tenant:
        await _refused(tenant.patch(NODE_PATH, {"spec": {"slices": {}}}))
        await _refused(tenant.patch(f"{NODE_PATH}/status", {"status": {"devices": []}}))
        await _refused(tenant.request("DELETE", NODE_PATH))


async def test_a_tenant_claims_nothing_in_another_namespace(team: Team, tenant: rest.API) -> None:
    other = f"/apis/{names.API_VERSION}/namespaces/default/{names.CLAIM_PLURAL}"

    async with tenant:
        await _refused(tenant.create(other, objects.claim("llm", "default")))


@pytest.mark.parametrize("annotation", [names.DEVICES_ANNOTATION, names.SLICE_ANNOTATION])
async def test_a_tenant_sets_our_annotations_through_no_door(
    team: Team, tenant: rest.API, annotation: str
) -> None:
    forged = {annotation: "GPU-of-somebody-else"}
    await team.claim("llm")
    await team.run("llm")
    await team.bound(1)
    pod = f"{team.pods_path}/llm-0"

    async with tenant:
        created = objects.pod("forged", "llm", team.namespace, annotations=forged)
        await _refused(tenant.create(team.pods_path, created))
        await _refused(tenant.patch(pod, {"metadata": {"annotations": forged}}))
        await _refused(tenant.patch(f"{pod}/status", {"metadata": {"annotations": forged}}))
        binding = {"target": {"kind": "Node", "name": "gpu-0"}, "metadata": {"name": "llm-0"}}
        await _refused(tenant.create(f"{pod}/binding", binding))


async def test_even_an_admin_of_pods_cannot_forge_an_annotation(bed: platform.Bed, team: Team) -> None:
    """The policies, not the roles, guard the annotations: an account that may do everything is refused."""
    await team.claim("llm")
    await team.run("llm")
    await team.bound(1)
    pod = f"{team.pods_path}/llm-0"
    forged = {"metadata": {"annotations": {names.DEVICES_ANNOTATION: "GPU-of-somebody-else"}}}

    assert names.DEVICES_ANNOTATION in await _refused(bed.api.patch(pod, forged))
    assert names.DEVICES_ANNOTATION in await _refused(bed.api.patch(f"{pod}/status", forged))


async def test_a_pod_may_not_choose_its_devices_itself(team: Team, tenant: rest.API) -> None:
    await team.claim("llm")
    env = [{"name": "NVIDIA_VISIBLE_DEVICES", "value": "all"}]
    containers = [{"name": "main", "image": objects.IMAGE, "env": env}]

    async with tenant:
        sentence = await _refused(
            tenant.create(team.pods_path, objects.pod("greedy", "llm", team.namespace, containers=containers))
        )

    assert "NVIDIA_VISIBLE_DEVICES" in sentence


async def test_a_pod_may_not_gain_or_lose_the_label_later(team: Team, tenant: rest.API) -> None:
    await team.claim("llm")
    await team.run("llm")
    await team.bound(1)

    async with tenant:
        await _refused(
            tenant.patch(f"{team.pods_path}/llm-0", {"metadata": {"labels": {names.CLAIM_LABEL: "another"}}})
        )
