from typing import Any

import builders as make
from vgpu_kube.resources import VGPU_CLAIMS, VGPU_NODES, VGPU_POOLS
from vgpu_kube.testing import Cluster, settle
from vgpu_webhooks.admission import fit, view
from vgpu_webhooks.admission.view import ClusterView

A100 = "A100"
SPEC = {"poolName": "a100", "resources": {"requests": {"memory": "1Gi", "computePercent": 1}}}


def device(uuid: str, memory: str) -> dict[str, Any]:
    return {"uuid": uuid, "index": 0, "model": "A100", "memory": memory}


async def test_it_is_unready_until_every_list_is_there(cluster: Cluster) -> None:
    async with view.follow(cluster) as following:
        before = following.unready()
        await settle()

        assert before == "expected the lists of pools, claims, nodes, found none yet; wait"
        assert following.unready() is None


async def test_what_is_known_costs_no_request(cluster: Cluster, followed: ClusterView) -> None:
    asked = len(cluster.requests)

    known = await followed.claim("team-a", "llm")
    pool = await followed.pool("a100")
    default = await followed.default_pool()

    assert known is not None
    assert (known.claim.ref.name, known.deleting) == ("llm", False)
    assert pool is not None
    assert default == pool
    assert len(cluster.requests) == asked


async def test_what_the_watch_has_not_seen_yet_is_asked_for(cluster: Cluster, followed: ClusterView) -> None:
    cluster.hold_watches()
    cluster.add(VGPU_CLAIMS, {"metadata": {"name": "young", "namespace": "team-a"}, "spec": SPEC})
    cluster.add(VGPU_POOLS, {"metadata": {"name": "young"}, "spec": {"nodeSelector": {}}})

    assert await followed.claim("team-a", "young") is not None
    assert await followed.pool("young") is not None


async def test_what_is_nowhere_is_none(followed: ClusterView) -> None:
    assert await followed.claim("team-a", "nope") is None
    assert await followed.claim("team-b", "llm") is None
    assert await followed.pool("nope") is None


async def test_a_default_pool_made_a_moment_ago_is_found() -> None:
    late = Cluster()
    unsynced = ClusterView(late)
    annotations = {"vgpu.dev/is-default-pool": "true"}
    for name in ("b", "a"):
        late.add(
            VGPU_POOLS, {"metadata": {"name": name, "annotations": annotations}, "spec": {"nodeSelector": {}}}
        )

    default = await unsynced.default_pool()

    assert default is not None
    assert default.name == "a"


async def test_hardware_follows_the_devices_and_not_the_ledger(
    cluster: Cluster, followed: ClusterView
) -> None:
    pool = await followed.pool("a100")
    assert pool is not None
    before = followed.hardware(pool)

    await cluster.patch_merge(VGPU_NODES, "gpu-0", {"spec": {"revision": 1}})
    await settle()
    after_ledger = followed.hardware(pool)
    await cluster.patch_merge(
        VGPU_NODES, "gpu-0", {"status": {"devices": [device("GPU-0", "40Gi")]}}, subresource="status"
    )
    await settle()

    assert before == {(fit.Kind(make.amounts(80, 100), A100),)}
    assert after_ledger is before
    assert followed.hardware(pool) == {(fit.Kind(make.amounts(40, 100), A100),)}


async def test_hardware_follows_the_pool(followed: ClusterView) -> None:
    assert followed.hardware(make.pool()) == {(fit.Kind(make.amounts(80, 100), A100),)}
    assert followed.hardware(make.pool(reserved_gib=1)) == {(fit.Kind(make.amounts(79, 100), A100),)}
