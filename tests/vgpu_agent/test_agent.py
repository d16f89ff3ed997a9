"""The agent as a whole, on the in-memory cluster, with a scripted driver and a clock of the test's own."""

import asyncio
import dataclasses
import pathlib
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Protocol

import pytest

from vgpu import values
from vgpu.api import node
from vgpu_agent import agent, audit, devices, mounts
from vgpu_agent.home import Home, Volume
from vgpu_kube.objects import Object
from vgpu_kube.resources import EVENTS, NODES, VGPU_NODES, VGPU_POOLS
from vgpu_kube.testing import Clock, Cluster, settle
from vgpu_shim.limits import LimitsPage

GPU = "GPU-11111111-2222-3333-4444-555555555555"
GIB = values.GIB


class Built(Protocol):
    @property
    def shim(self) -> pathlib.Path: ...


class Driver:
    """A driver that does what a test says."""

    vendor = "scripted"

    def __init__(self) -> None:
        self.devices: Callable[[], tuple[devices.Found, ...]] = lambda: (found(),)
        self.processes: Callable[[], tuple[devices.ProcessUse, ...]] = lambda: ()

    def list_devices(self) -> tuple[devices.Found, ...]:
        return self.devices()

    def list_processes(self, uuid: str) -> tuple[devices.ProcessUse, ...]:
        return self.processes()


def found(*, gib: int = 80) -> devices.Found:
    return devices.Found(device=values.Device(uuid=GPU, index=0, model="A100", memory_bytes=gib * GIB))


@dataclasses.dataclass
class Scene:
    cluster: Cluster
    clock: Clock
    driver: Driver
    home: Home
    built: Built

    @asynccontextmanager
    async def running(self) -> AsyncIterator[agent.Agent]:
        clock = agent.Clock(
            monotonic=self.clock.monotonic,
            now=lambda: self.clock.now().timestamp(),
            sleep=self.clock.sleep,
        )
        home = Home(self.home.root, mounts.LinkMounts(), self.built.shim)
        made = agent.Agent(self.cluster, node_name="node-0", backend=self.driver, home=home, clock=clock)
        task = asyncio.create_task(made.run())
        try:
            await asyncio.wait_for(made.ready.wait(), timeout=10)
            await self.until(lambda: bool(self.cluster.objects(VGPU_NODES)))
            yield made
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def until(self, holds: Callable[[], bool]) -> None:
        """Lets time pass, and threads answer, until something holds."""
        for _ in range(400):
            if holds():
                return
            await self.clock.advance(0.25)
            await _threads()
        raise AssertionError("it did not come to hold within 100 s")

    async def give(self, slice_id: str, *, gib: int = 16, revision: int = 1) -> None:
        entry = values.Slice(
            id=slice_id,
            pool_name="a100",
            claim=values.ClaimRef(namespace="team-a", name="llm", uid="claim"),
            pods=(values.PodRef(name=slice_id, uid=slice_id),),
            device_uuids=(GPU,),
            requests=values.Amounts(memory_bytes=gib * GIB, compute_percent=25),
            allocated=values.Amounts(memory_bytes=gib * GIB, compute_percent=25),
            limits=values.Amounts(memory_bytes=80 * GIB, compute_percent=100),
            held_memory_bytes=gib * GIB,
            revision=revision,
        )
        spec = {"revision": revision, "slices": {slice_id: node.slice_to_json(entry)}}
        await self.cluster.patch_merge(VGPU_NODES, "node-0", {"spec": spec})
        await settle()

    @property
    def status(self) -> Object:
        [ledger] = self.cluster.objects(VGPU_NODES)
        status: Object = ledger.get("status", {})
        return status


async def _threads() -> None:
    """Gives the driver's thread its turn; it answers at once or not at all."""
    for thread in threading.enumerate():
        if thread.name == "driver":
            thread.join(timeout=0.05)
    await settle()


@pytest.fixture
def scene(built: Built, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    monkeypatch.setenv("VGPU_LIBRARY", str(built.shim))
    cluster = Cluster()
    cluster.add(NODES, {"metadata": {"name": "node-0", "labels": {"gpu": "a100"}}})
    home = Home(tmp_path / "home", mounts.LinkMounts(), built.shim)
    return Scene(cluster, Clock(), Driver(), home, built)


async def test_from_the_ledger_to_the_report(scene: Scene) -> None:
    async with scene.running() as running:
        await scene.give("a")

        assert running.obstacle("a") is None
        await scene.until(lambda: "a" in scene.status.get("slices", {}))
        assert scene.status["slices"]["a"]["state"] == "Applied"
        assert scene.status["devices"][0]["uuid"] == GPU


async def test_a_slice_whose_device_goes_is_refused_and_comes_back_with_it(scene: Scene) -> None:
    async with scene.running():
        await scene.give("a")
        await scene.until(lambda: "a" in scene.status.get("slices", {}))

        scene.driver.devices = lambda: ()
        await scene.until(lambda: scene.status["slices"]["a"]["state"] == "Refused")
        assert scene.status["devices"] == []

        scene.driver.devices = lambda: (found(),)
        await scene.until(lambda: scene.status["slices"]["a"]["state"] == "Applied")


async def test_a_ledger_edited_beyond_a_device_is_told_and_a_pool_that_promises_more_lets_it_in(
    scene: Scene,
) -> None:
    async with scene.running() as running:
        await scene.give("a", gib=50)
        await scene.give("b", gib=40, revision=2)

        await scene.until(lambda: "b" in scene.status.get("slices", {}))
        assert {each: entry["state"] for each, entry in scene.status["slices"].items()} == {
            "a": "Applied",
            "b": "Refused",
        }
        assert "80 GiB of it may be promised" in str(running.obstacle("b"))

        pool = {"nodeSelector": {"matchLabels": {"gpu": "a100"}}, "overcommit": {"memoryPercent": 120}}
        scene.cluster.add(VGPU_POOLS, {"metadata": {"name": "a100"}, "spec": pool})
        await scene.until(lambda: scene.status["slices"]["b"]["state"] == "Applied")


async def test_a_driver_that_fails_marks_devices_and_leaves_slices_alone(scene: Scene) -> None:
    def fail() -> tuple[devices.Found, ...]:
        raise devices.BackendError("it hangs")

    async with scene.running():
        await scene.give("a")
        await scene.until(lambda: "a" in scene.status.get("slices", {}))

        scene.driver.devices = fail

        await scene.until(lambda: not scene.status["devices"][0]["healthy"])
        assert scene.status["slices"]["a"]["state"] == "Applied"


async def test_an_agent_that_starts_while_the_driver_fails_knows_what_was_published(scene: Scene) -> None:
    def fail() -> tuple[devices.Found, ...]:
        raise devices.BackendError("it hangs")

    async with scene.running():
        await scene.give("a")
        await scene.until(lambda: "a" in scene.status.get("slices", {}))
    scene.driver.devices = fail

    async with scene.running() as running:
        assert running.obstacle("a") is None
        await scene.until(lambda: not scene.status["devices"][0]["healthy"])
        assert scene.status["slices"]["a"]["state"] == "Applied"


async def test_a_deleted_ledger_takes_no_limits_from_running_pods_and_is_made_anew(scene: Scene) -> None:
    async with scene.running() as running:
        await scene.give("a")
        running.home.remember(Volume(id="v", slice_id="a", pod_uid="a", target="/t"))

        scene.cluster.remove(VGPU_NODES, "node-0")
        await scene.until(lambda: bool(scene.cluster.objects(VGPU_NODES)))

        with LimitsPage(running.home.slice_directory("a") / "limits") as page:
            assert page.read(0).memory_limit == 16 * GIB
        await scene.until(lambda: bool(scene.status.get("devices")))


async def test_a_home_without_room_is_told_and_tried_again(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = True

    def make(home: Home, slice_id: str) -> pathlib.Path:
        if full:
            raise OSError(28, "No space left on device")
        return original(home, slice_id)

    original = Home.make_slice
    monkeypatch.setattr(Home, "make_slice", make)
    async with scene.running() as running:
        await scene.give("a")
        assert "No space left on device" in str(running.obstacle("a"))

        full = False

        await scene.until(lambda: running.obstacle("a") is None)


async def test_memory_that_escaped_is_told_by_an_event_on_the_pod(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "pod_of", lambda _: "a")
    scene.driver.processes = lambda: (devices.ProcessUse(pid=7, memory_bytes=30 * GIB),)
    async with scene.running():
        await scene.give("a")

        await scene.until(lambda: bool(scene.cluster.objects(EVENTS)))

        [event] = scene.cluster.objects(EVENTS)
        assert event["regarding"]["name"] == "a"
        assert "its slice accounts for 0 GiB" in event["note"]


async def test_what_a_context_costs_is_learned_from_the_driver_and_charged_from_then_on(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "pod_of", lambda _: "a")
    scene.driver.processes = lambda: (devices.ProcessUse(pid=7, memory_bytes=400 * values.MIB),)
    async with scene.running() as running:
        await scene.give("a")
        page = running.home.slice_directory("a") / "limits"

        await scene.until(lambda: charged(page) == 400 * values.MIB)


def charged(file: pathlib.Path) -> int:
    with LimitsPage(file) as page:
        return page.read(0).context_bytes
