"""Room that comes free is for who waits first, not for the pod that is made anew in another's place."""

from typing import TYPE_CHECKING

from vgpu.reservations import Book
from vgpu_kube import resources
from vgpu_webhooks.extender import leaving, view

if TYPE_CHECKING:
    from tests.vgpu_webhooks.extender.conftest import Process, Stage


async def _full(stage: "Stage") -> "Process":
    """One GPU with a pod of 40 GiB, and a claim of 60 GiB whose pod waits."""
    stage.add_nodes(1)
    stage.add_pool()
    stage.add_claim()
    stage.add_claim("large", memory="60Gi")
    process = await stage.start()
    await process.place(stage.add_pod("small", priority=100), ["gpu-0"])
    stage.queue_pod("late", claim="large")
    await stage.clock.advance(1)
    return process


async def test_who_waits_first_gets_what_a_leaving_pod_frees(stage: "Stage") -> None:
    await _full(stage)

    await stage.cluster.delete(resources.PODS, "small", "team")  # it lingers: its node has to stop it
    stage.queue_pod("small-anew")
    await stage.clock.advance(5)
    assert stage.nominated() == {}

    stage.cluster.remove(resources.PODS, "small", "team")
    await stage.clock.advance(1)
    assert set(stage.nominated()) == {"late"}


async def test_a_process_that_was_killed_meanwhile_keeps_it_too(stage: "Stage") -> None:
    process = await _full(stage)
    await stage.cluster.delete(resources.PODS, "small", "team")
    stage.queue_pod("small-anew")

    await stage.succeed(process)
    assert stage.nominated() == {}

    stage.cluster.remove(resources.PODS, "small", "team")
    await stage.clock.advance(1)
    assert set(stage.nominated()) == {"late"}


async def test_a_pod_that_was_leaving_before_its_node_was_listed_is_known_to(stage: "Stage") -> None:
    await _full(stage)
    await stage.cluster.delete(resources.PODS, "small", "team")
    seen = view.View(stage.cluster, book=Book(), clock=stage.clock.monotonic, sleep=stage.clock.sleep)
    going = leaving.Leaving(seen, stirred=lambda: None)

    seen.pods.observe(stage.pod("small"))
    assert not going.uids
    [node] = stage.cluster.objects(resources.VGPU_NODES)
    seen.nodes.observe(node)

    assert going.uids == {stage.pod("small")["metadata"]["uid"]}


async def test_one_of_higher_priority_comes_before_what_was_kept(stage: "Stage") -> None:
    await _full(stage)
    await stage.cluster.delete(resources.PODS, "small", "team")
    await stage.clock.advance(1)

    stage.queue_pod("urgent", claim="large", priority=10)
    await stage.clock.advance(1)
    stage.cluster.remove(resources.PODS, "small", "team")
    await stage.clock.advance(1)

    assert set(stage.nominated()) == {"urgent"}


async def test_what_would_not_be_enough_is_kept_from_nobody(stage: "Stage") -> None:
    process = await _full(stage)
    stage.add_claim("tiny", memory="20Gi")
    await process.place(stage.add_pod("tiny-stays", claim="tiny"), ["gpu-0"])
    stage.add_claim("whole", memory="80Gi")
    stage.cluster.remove(resources.PODS, "late", "team")
    stage.queue_pod("whole", claim="whole")
    await stage.clock.advance(1)

    await stage.cluster.delete(resources.PODS, "small", "team")
    stage.queue_pod("next", claim="tiny")
    await stage.clock.advance(1)

    assert set(stage.nominated()) == {"next"}


async def test_pods_are_numbered_as_they_come(stage: "Stage") -> None:
    process = await stage.start()
    uids = [stage.add_pod(name)["metadata"]["uid"] for name in ("z", "a", "m")]
    await stage.clock.advance(0.1)
    await stage.finish("z")
    await stage.clock.advance(0.1)

    arrivals = [process.served.view.arrival(uid) for uid in uids]

    assert arrivals == sorted(arrivals)
    assert len(set(arrivals)) == 3
