"""What a test can do with the in-memory cluster beyond the contract."""

import pytest

from vgpu_kube import errors, objects
from vgpu_kube.objects import Object
from vgpu_kube.resources import CONFIGMAPS, DEPLOYMENTS, PODS, REPLICASETS, VGPU_NODES
from vgpu_kube.testing import Clock, Cluster, Moment, Request

DOWN = errors.Unavailable(0, "TimeoutError", "no answer in time")


class Killed(BaseException):
    """The end of a writer."""


def config(name: str = "c") -> Object:
    return {"metadata": {"name": name}, "data": {"a": "1"}}


async def test_a_writer_dies_before_or_after_its_write(cluster: Cluster) -> None:
    async def killed_at(wanted: Moment) -> bool:
        def stop(request: Request, moment: Moment) -> None:
            if request.writes and moment is wanted:
                raise Killed

        cluster.on_request = stop
        with pytest.raises(Killed):
            await cluster.create(CONFIGMAPS, config(), "default")
        return bool(cluster.objects(CONFIGMAPS))

    assert await killed_at(Moment.BEFORE) is False
    assert await killed_at(Moment.AFTER) is True


async def test_the_next_requests_fail_as_told_and_no_others(cluster: Cluster) -> None:
    cluster.fail_next(DOWN, verb="create", resource=CONFIGMAPS, times=2)
    for _ in range(2):
        with pytest.raises(errors.Unavailable):
            await cluster.create(CONFIGMAPS, config(), "default")
        await cluster.list(CONFIGMAPS)
    assert cluster.objects(CONFIGMAPS) == []

    cluster.fail_next(DOWN, verb="create", moment=Moment.AFTER)
    with pytest.raises(errors.Unavailable):
        await cluster.create(CONFIGMAPS, config(), "default")
    assert len(cluster.objects(CONFIGMAPS)) == 1


async def test_every_request_is_on_record(cluster: Cluster) -> None:
    await cluster.list(PODS, "default")

    assert cluster.requests == [Request(verb="list", resource=PODS, namespace="default", name=None)]


async def test_answers_belong_to_the_caller(cluster: Cluster) -> None:
    created = await cluster.create(CONFIGMAPS, config(), "default")
    created["data"]["a"] = "changed"
    (await cluster.get(CONFIGMAPS, "c", "default"))["data"]["a"] = "changed"

    assert (await cluster.get(CONFIGMAPS, "c", "default"))["data"] == {"a": "1"}


async def test_the_garbage_of_owners_that_are_gone_is_collected_in_turn(cluster: Cluster) -> None:
    def owned(name: str, owner: Object) -> Object:
        reference = {"kind": owner["kind"], "name": owner["metadata"]["name"], "uid": objects.uid(owner)}
        return {"metadata": {"name": name, "ownerReferences": [reference]}}

    deployment = cluster.add(DEPLOYMENTS, {"metadata": {"name": "d"}}, "default")
    replicas = cluster.add(REPLICASETS, owned("d-1", deployment), "default")
    cluster.add(PODS, owned("d-1-x", replicas), "default")
    cluster.add(PODS, {"metadata": {"name": "free"}}, "default")
    assert cluster.collect_garbage() == 0
    await cluster.delete(DEPLOYMENTS, "d", "default")

    assert [cluster.collect_garbage() for _ in range(3)] == [1, 1, 0]
    assert [raw["metadata"]["name"] for raw in cluster.objects(PODS)] == ["free"]


async def test_the_scale_of_a_deployment_is_read_and_written(cluster: Cluster) -> None:
    cluster.add(
        DEPLOYMENTS,
        {"metadata": {"name": "d"}, "spec": {"replicas": 1}, "status": {"replicas": 1}},
        "default",
    )

    scaled = await cluster.patch_merge(DEPLOYMENTS, "d", {"spec": {"replicas": 4}}, "default", "scale")

    assert (scaled["kind"], scaled["spec"], scaled["status"]) == ("Scale", {"replicas": 4}, {"replicas": 1})
    assert cluster.objects(DEPLOYMENTS)[0]["spec"]["replicas"] == 4


async def test_an_eviction_deletes_the_pod(cluster: Cluster) -> None:
    cluster.add(PODS, {"metadata": {"name": "p"}}, "default")

    await cluster.create_subresource(PODS, "p", "eviction", {}, "default")

    assert cluster.objects(PODS) == []


async def test_what_is_added_keeps_its_status(cluster: Cluster) -> None:
    cluster.add(VGPU_NODES, {"metadata": {"name": "n"}, "spec": {}, "status": {"devices": []}})

    assert (await cluster.get(VGPU_NODES, "n"))["status"] == {"devices": []}


async def test_generated_names_differ(cluster: Cluster) -> None:
    body = {"metadata": {"generateName": "p-"}}

    names = {(await cluster.create(PODS, body, "default"))["metadata"]["name"] for _ in range(3)}

    assert len(names) == 3
    assert all(name.startswith("p-") for name in names)


async def test_a_finished_pod_ends_at_once_though_it_was_bound(cluster: Cluster) -> None:
    cluster.add(
        PODS, {"metadata": {"name": "p"}, "spec": {"nodeName": "n"}, "status": {"phase": "Succeeded"}}, "a"
    )

    await cluster.delete(PODS, "p", "a")

    assert cluster.objects(PODS) == []


async def test_sleepers_wake_in_order_and_not_early() -> None:
    import asyncio

    clock, woken = Clock(), list[float]()

    async def sleeper(seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append(clock.monotonic())

    async with asyncio.TaskGroup() as group:
        for seconds in (3.0, 1.0, 2.0):
            group.create_task(sleeper(seconds))
        await clock.advance(2.5)
        assert woken == [1001.0, 1002.0]
        await clock.advance(1)

    assert woken == [1001.0, 1002.0, 1003.0]
    assert clock.now().second == 3
