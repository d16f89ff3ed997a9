"""What the agent writes about its node, on the in-memory cluster."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator

import pytest

import builders
from vgpu import values
from vgpu.api import names, node
from vgpu_agent import devices, facts
from vgpu_agent.publishing import HEARTBEAT_SECONDS, Publisher
from vgpu_agent.view import View
from vgpu_kube import errors
from vgpu_kube.objects import Object
from vgpu_kube.resources import NODES, VGPU_NODES, VGPU_POOLS
from vgpu_kube.testing import Clock, Cluster, settle

GPU = devices.Found(
    device=values.Device(
        uuid="GPU-0",
        index=0,
        model="A100",
        memory_bytes=80 * values.GIB,
        numa_node=1,
        links=(values.Link(uuid="GPU-1", kind=values.LinkKind.NVLINK, lanes=4),),
    ),
)
REPORT = facts.report(builders.enforced(16, revision=3), ["Throttled"])
DOWN = errors.Unavailable(0, "TimeoutError", "no answer in time")


@dataclasses.dataclass
class Scene:
    cluster: Cluster
    clock: Clock
    view: View
    publisher: Publisher
    reports: dict[str, Object]
    escapes: dict[str, values.Escape]

    async def settle(self) -> None:
        await self.publisher.settle()
        await settle()

    @property
    def ledger(self) -> Object:
        [found] = self.cluster.objects(VGPU_NODES)
        return found

    @property
    def writes(self) -> int:
        return sum(1 for request in self.cluster.requests if request.writes)


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    cluster, clock = Cluster(), Clock()
    capacity = {"capacity": {"pods": "250"}}
    cluster.add(NODES, {"metadata": {"name": "node-0", "labels": {"gpu": "a100"}}, "status": capacity})
    view, reports = View(cluster, "node-0"), dict[str, Object]()
    escapes = dict[str, values.Escape]()
    publisher = Publisher(
        cluster,
        view,
        lambda: reports,
        lambda: escapes,
        now=lambda: clock.now().timestamp(),
        sleep=clock.sleep,
    )
    async with view:
        await view.synced()
        publisher.found([GPU])
        yield Scene(cluster, clock, view, publisher, reports, escapes)


async def test_a_node_is_published_with_owner_labels_devices_and_totals(scene: Scene) -> None:
    await scene.settle()
    await scene.settle()

    ledger = scene.ledger
    [owner] = scene.cluster.objects(NODES)
    assert ledger["metadata"]["labels"] == {"gpu": "a100"}
    assert ledger["metadata"]["ownerReferences"][0]["uid"] == owner["metadata"]["uid"]
    assert ledger["spec"] == {"revision": 0}
    [device] = ledger["status"]["devices"]
    assert device["links"] == [{"uuid": "GPU-1", "type": "NVLink", "laneCount": 4}]
    assert device["isolation"] == {"memory": "Hard", "compute": "TimeShare", "resize": "Live"}
    assert node.to_values(ledger).devices == (GPU.device,)
    assert owner["status"]["capacity"] == {
        names.MEMORY_RESOURCE: str(80 * 1024),
        names.COMPUTE_RESOURCE: "100",
        names.SLICE_RESOURCE: "250",
        "pods": "250",
    }


async def test_nothing_is_written_that_has_not_changed(scene: Scene) -> None:
    scene.reports["a"] = REPORT
    await scene.settle()
    await scene.settle()
    before = scene.writes

    await scene.clock.advance(HEARTBEAT_SECONDS / 2)
    await scene.settle()

    assert scene.writes == before


async def test_a_heartbeat_is_written_once_a_minute(scene: Scene) -> None:
    await scene.settle()
    await scene.settle()
    before = scene.ledger["status"]["heartbeatTime"]

    await scene.clock.advance(HEARTBEAT_SECONDS)
    await scene.settle()

    assert scene.ledger["status"]["heartbeatTime"] > before


async def test_reports_come_change_and_go_one_by_one(scene: Scene) -> None:
    scene.reports |= {"a": REPORT, "b": REPORT}
    await scene.settle()
    await scene.settle()
    assert scene.ledger["status"]["slices"]["a"]["pressure"] == ["Throttled"]

    del scene.reports["a"]
    scene.reports["b"] = facts.report(builders.enforced(24, revision=4), [])
    await scene.settle()

    assert scene.ledger["status"]["slices"] == {"b": scene.reports["b"]}


async def test_what_the_kubelet_offers_its_pods_is_published_and_withdrawn(scene: Scene) -> None:
    offered = {"cpu": "7910m", "memory": "62914560Ki"}
    await scene.settle()
    await scene.settle()
    assert "allocatable" not in scene.ledger["status"]

    for kept in (offered, None):
        await scene.cluster.patch_merge(
            NODES, "node-0", {"status": {"allocatable": kept}}, subresource="status"
        )
        await settle()
        await scene.settle()
        found = scene.ledger["status"].get("allocatable")
        assert found == (None if kept is None else {"cpuMilli": 7910, "memory": "60Gi"})


async def test_changed_labels_of_the_node_are_mirrored(scene: Scene) -> None:
    await scene.settle()

    await scene.cluster.patch_merge(NODES, "node-0", {"metadata": {"labels": {"gpu": None, "zone": "z"}}})
    await settle()
    await scene.settle()

    assert scene.ledger["metadata"]["labels"] == {"zone": "z"}


async def test_a_deleted_ledger_is_made_anew(scene: Scene) -> None:
    await scene.settle()

    scene.cluster.remove(VGPU_NODES, "node-0")
    await settle()
    await scene.settle()
    await scene.settle()

    assert scene.ledger["status"]["devices"]


async def test_totals_are_what_pools_may_promise(scene: Scene) -> None:
    scene.cluster.add(
        VGPU_POOLS,
        {
            "metadata": {"name": "a100"},
            "spec": {
                "nodeSelector": {"matchLabels": {"gpu": "a100"}},
                "overcommit": {"memoryPercent": 150, "computePercent": 200},
                "reservedPerDevice": {"memory": "16Gi"},
            },
        },
    )
    await settle()

    await scene.settle()

    [owner] = scene.cluster.objects(NODES)
    assert owner["status"]["capacity"] == {
        names.MEMORY_RESOURCE: str(64 * 1024 * 3 // 2),
        names.COMPUTE_RESOURCE: "200",
        names.SLICE_RESOURCE: "250",
        "pods": "250",
    }


async def test_totals_that_a_kubelet_has_dropped_are_written_again(scene: Scene) -> None:
    await scene.settle()
    dropped = {"status": {"capacity": {names.MEMORY_RESOURCE: None, names.COMPUTE_RESOURCE: "0"}}}
    await scene.cluster.patch_merge(NODES, "node-0", dropped, subresource="status")
    await settle()

    await scene.settle()

    [owner] = scene.cluster.objects(NODES)
    assert owner["status"]["capacity"][names.COMPUTE_RESOURCE] == "100"


async def test_an_unhealthy_device_counts_for_no_totals(scene: Scene) -> None:
    broken = dataclasses.replace(GPU, device=dataclasses.replace(GPU.device, healthy=False), fault="Xid 79")
    scene.publisher.found([broken])

    await scene.settle()
    await scene.settle()

    [owner] = scene.cluster.objects(NODES)
    assert owner["status"]["capacity"][names.COMPUTE_RESOURCE] == "0"
    assert scene.ledger["status"]["devices"][0]["healthy"] is False


async def test_a_write_that_failed_is_tried_again(scene: Scene) -> None:
    scene.cluster.fail_next(DOWN, verb="create", resource=VGPU_NODES)
    running = asyncio.create_task(scene.publisher.run())

    await scene.clock.advance(1.0)
    running.cancel()

    assert scene.ledger["status"]["devices"]


def test_devices_are_remembered_from_what_was_published() -> None:
    ledger = {
        "metadata": {"name": "node-0"},
        "spec": {"revision": 0},
        "status": {"devices": [facts.device(GPU)]},
    }

    assert facts.remembered(ledger) == (GPU,)


async def test_an_escape_stands_in_the_status_while_it_lasts(scene: Scene) -> None:
    await scene.settle()
    await scene.settle()
    scene.escapes["pod-uid"] = values.Escape(device_uuid="GPU-0", message="seen")
    await scene.settle()
    assert scene.ledger["status"]["escapes"] == {"pod-uid": {"deviceUUID": "GPU-0", "message": "seen"}}

    scene.escapes.clear()
    await scene.settle()

    assert scene.ledger["status"]["escapes"] == {}
