"""Who keeps an own autoscaler: theirs scales, ours sizes the slices, and neither fights the other."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from vgpu.api import names
from vgpu_e2e import objects, process, prometheus
from vgpu_e2e.localnode.elastic import ElasticBed
from vgpu_e2e.localnode.service import Service
from vgpu_e2e.rest import Object
from vgpu_e2e.team import Team

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(prometheus.missing() is not None, reason=prometheus.missing() or "it is there"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bed() -> AsyncIterator[ElasticBed]:
    async with ElasticBed(gpus=1) as running:
        await running.apply([objects.pool(compute_overcommit=100)])
        yield running


async def test_autoscalers_of_others_scale_the_target_or_the_claim(bed: ElasticBed, team: Team) -> None:
    theirs, ours = Service(bed, team, "theirs"), Service(bed, team, "ours")
    for service, more in ((theirs, {}), (ours, {"replicas": 1})):
        scaling = {"maxReplicas": 4, "workload": {"query": service.rate_query}, **more}
        await service.claim(scaling, requests=objects.amounts("1Gi", 10), limits=objects.amounts("1Gi", 50))
        await service.deploy()
    on_target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": theirs.name}
    on_claim = {"apiVersion": names.API_VERSION, "kind": names.CLAIM_KIND, "name": ours.name}
    await bed.apply([_autoscaler(team, theirs.name, on_target), _autoscaler(team, ours.name, on_claim)])

    told = await asyncio.gather(
        *(
            team.condition(each.name, "ScalingLimited", reason="ScaledByAnother", within_seconds=30)
            for each in (theirs, ours)
        )
    )
    await process.until(lambda: _two_each(theirs, ours), timeout_seconds=60, awaited="two replicas of each")

    assert "HorizontalPodAutoscaler theirs scales Deployment theirs" in told[0]["message"]
    claim = await bed.api.get(f"{team.claims_path}/{ours.name}/scale")
    assert claim["spec"]["replicas"] == 2
    assert claim["status"]["selector"] == f"{names.CLAIM_LABEL}=ours"


async def test_kubectl_scales_a_claim_that_hands_its_replicas_over(bed: ElasticBed, team: Team) -> None:
    service = Service(bed, team, "llm")
    await service.claim(
        {"maxReplicas": 3, "replicas": 1},
        requests=objects.amounts("1Gi", 10),
        limits=objects.amounts("1Gi", 50),
    )
    await service.deploy()
    await team.condition(service.name, "ScalingLimited", reason="ScaledByAnother")

    await bed.kubectl("scale", "vgpuclaim", service.name, "--replicas=3", "-n", team.namespace)

    await process.until(lambda: _has(service, 3), timeout_seconds=20, awaited="three replicas")


def _autoscaler(team: Team, name: str, target: Object) -> Object:
    """An HPA that no metric moves; its minimum does."""
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": name, "namespace": team.namespace},
        "spec": {"scaleTargetRef": target, "minReplicas": 2, "maxReplicas": 3},
    }


async def _two_each(*services: Service) -> bool:
    return all([await _has(each, 2) for each in services])


async def _has(service: Service, replicas: int) -> bool:
    return await service.scale() == replicas
