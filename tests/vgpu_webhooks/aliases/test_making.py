"""Claims appear for pods with a note, belong to whom they should, and nobody else's are touched."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest

from vgpu.api import names
from vgpu_kube import errors
from vgpu_kube.events import Recorder
from vgpu_kube.resources import EVENTS, PODS, VGPU_CLAIMS
from vgpu_kube.testing import Cluster, settle
from vgpu_webhooks.admission import hami
from vgpu_webhooks.aliases import making

OWNER = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "llm-5d4", "uid": "rs", "controller": True}


def pod(name: str, *, owner: dict[str, Any] | None = None, memory: int = 8000) -> dict[str, Any]:
    """A pod as admission leaves it."""
    about: dict[str, Any] = {"name": name, "namespace": "team-a"}
    if owner:
        about["ownerReferences"] = [owner]
    limits = {hami.COUNT: 1, hami.MEMORY: memory}
    spec = {"containers": [{"name": "main", "resources": {"limits": limits}}]}
    return hami.translated({"metadata": about, "spec": spec}, []).pod


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
async def pauses(cluster: Cluster) -> AsyncIterator[list[float]]:
    """The maker at work on the cluster; what it waited between attempts."""
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)
        await asyncio.sleep(0)

    maker = making.Maker(cluster, Recorder(cluster, "test", "test-1"), sleep=sleep)
    running = asyncio.create_task(maker.run())
    await settle()
    yield waited
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


async def test_a_claim_is_made_for_a_pod_and_goes_with_it(cluster: Cluster, pauses: list[float]) -> None:
    made = cluster.add(PODS, pod("alone"))
    await settle()

    [claim] = cluster.objects(VGPU_CLAIMS)
    assert claim["metadata"]["name"] == made["metadata"]["labels"][names.CLAIM_LABEL]
    assert claim["spec"]["resources"]["requests"]["memory"] == "8000Mi"
    assert [each["uid"] for each in claim["metadata"]["ownerReferences"]] == [made["metadata"]["uid"]]
    assert pauses == []


async def test_pods_of_one_owner_share_a_claim_that_goes_with_the_owner(
    cluster: Cluster, pauses: list[float]
) -> None:
    for name in ("llm-5d4-a", "llm-5d4-b"):
        cluster.add(PODS, pod(name, owner=OWNER))
    await settle()

    [claim] = cluster.objects(VGPU_CLAIMS)
    [owner] = claim["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"]) == ("ReplicaSet", "rs")


async def test_pods_without_an_owner_that_share_a_claim_all_keep_it(
    cluster: Cluster, pauses: list[float]
) -> None:
    noted = pod("job-")
    uids = set()
    for name in ("job-1", "job-2"):
        again = {**noted, "metadata": {**noted["metadata"], "name": name}}
        uids.add(cluster.add(PODS, again)["metadata"]["uid"])
    await settle()

    [claim] = cluster.objects(VGPU_CLAIMS)
    assert {each["uid"] for each in claim["metadata"]["ownerReferences"]} == uids


async def test_a_claim_that_someone_else_made_is_left_alone(cluster: Cluster, pauses: list[float]) -> None:
    noted = pod("alone")
    name = noted["metadata"]["labels"][names.CLAIM_LABEL]
    before = cluster.add(VGPU_CLAIMS, {"metadata": {"name": name, "namespace": "team-a"}, "spec": {}})

    cluster.add(PODS, noted)
    await settle()

    assert cluster.objects(VGPU_CLAIMS) == [before]


async def test_pods_without_a_note_get_nothing(cluster: Cluster, pauses: list[float]) -> None:
    labelled = {"name": "own", "namespace": "team-a", "labels": {names.CLAIM_LABEL: "own"}}
    cluster.add(PODS, {"metadata": labelled, "spec": {}})
    await settle()

    assert cluster.objects(VGPU_CLAIMS) == []


async def test_a_failure_is_told_and_tried_again(cluster: Cluster, pauses: list[float]) -> None:
    cluster.fail_next(
        errors.Forbidden(403, "Forbidden", "no pool"), verb="create", resource=VGPU_CLAIMS, times=2
    )

    cluster.add(PODS, pod("alone"))
    await settle()

    assert len(cluster.objects(VGPU_CLAIMS)) == 1
    assert len(pauses) == 2
    [event] = cluster.objects(EVENTS)
    assert event["reason"] == "ClaimNotMade"
    assert "no pool" in event["note"]


async def test_what_can_never_be_is_told_once(cluster: Cluster, pauses: list[float]) -> None:
    cluster.fail_next(
        errors.Invalid(422, "Invalid", "too much"), verb="create", resource=VGPU_CLAIMS, times=9
    )

    cluster.add(PODS, pod("alone"))
    await settle()

    assert cluster.objects(VGPU_CLAIMS) == []
    assert pauses == []
    assert len(cluster.objects(EVENTS)) == 1
