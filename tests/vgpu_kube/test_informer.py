import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest

from vgpu_kube import errors, informer, objects
from vgpu_kube.informer import Change, ChangeKind, DecodeError, Informer
from vgpu_kube.objects import Object
from vgpu_kube.resources import CONFIGMAPS, VGPU_NODES
from vgpu_kube.testing import Clock, Cluster, settle

EXPIRED = errors.Gone(410, "Expired", "too old resource version")
DOWN = errors.Unavailable(0, "ClientConnectorError", "connection refused")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def nodes(cluster: Cluster, clock: Clock) -> Informer[int]:
    """The revisions of VGPUNodes by name."""
    return Informer(
        cluster,
        VGPU_NODES,
        decode=lambda raw: int(raw["spec"]["revision"]),
        clock=clock.monotonic,
        sleep=clock.sleep,
        rng=random.Random(1),
    )


def node(name: str, revision: int = 0, **labels: str) -> Object:
    return {"metadata": {"name": name, "labels": labels}, "spec": {"revision": revision}}


async def write(cluster: Cluster, name: str, revision: int) -> Object:
    return await cluster.patch_merge(VGPU_NODES, name, {"spec": {"revision": revision}})


def plain(items: Any) -> dict[str, Any]:
    return {name: value for (_, name), value in items.items()}


def recording(seen: list[tuple[str, str, Any, Any]]) -> Callable[[Change[Any]], None]:
    return lambda change: seen.append((change.kind.value, change.key[1], change.old, change.new))


async def test_the_cache_holds_what_was_there_and_what_came(cluster: Cluster, nodes: Informer[int]) -> None:
    cluster.add(VGPU_NODES, node("a", 1))
    async with nodes:
        await nodes.synced()
        await cluster.create(VGPU_NODES, node("b", 2))
        await write(cluster, "a", 3)
        await settle()

        assert plain(nodes.items) == {"a": 3, "b": 2}
        await cluster.delete(VGPU_NODES, "a")
        await settle()
        assert plain(nodes.items) == {"b": 2}


async def test_subscribers_hear_changes_in_order_with_old_and_new(
    cluster: Cluster, nodes: Informer[int]
) -> None:
    seen: list[tuple[str, str, Any, Any]] = []
    cluster.add(VGPU_NODES, node("a", 1))
    nodes.subscribe(recording(seen))
    async with nodes:
        await nodes.synced()
        await write(cluster, "a", 2)
        await cluster.delete(VGPU_NODES, "a")
        await settle()

    assert seen == [("ADDED", "a", None, 1), ("MODIFIED", "a", 1, 2), ("DELETED", "a", 2, None)]


async def test_a_late_subscriber_hears_what_is_there_until_it_unsubscribes(
    cluster: Cluster, nodes: Informer[int]
) -> None:
    seen: list[tuple[str, str, Any, Any]] = []
    cluster.add(VGPU_NODES, node("a", 1))
    async with nodes:
        await nodes.synced()
        unsubscribe = nodes.subscribe(recording(seen))
        unsubscribe()
        await write(cluster, "a", 2)
        await settle()

    assert seen == [("ADDED", "a", None, 1)]


async def test_a_subscriber_that_raises_costs_the_others_nothing(
    cluster: Cluster, nodes: Informer[int], caplog: pytest.LogCaptureFixture
) -> None:
    def broken(change: Change[int]) -> None:
        raise RuntimeError("broken")

    seen: list[tuple[str, str, Any, Any]] = []
    nodes.subscribe(broken)
    nodes.subscribe(recording(seen))
    cluster.add(VGPU_NODES, node("a", 1))
    async with nodes:
        await nodes.synced()

    assert [name for _, name, _, _ in seen] == ["a"]
    assert "subscriber failed" in caplog.text


async def test_a_watch_that_ends_early_is_continued_without_a_list_or_a_gap(
    cluster: Cluster, nodes: Informer[int], clock: Clock
) -> None:
    cluster.add(VGPU_NODES, node("a", 1))
    async with nodes:
        await nodes.synced()
        await settle()
        cluster.end_watches()
        await write(cluster, "a", 2)
        await clock.advance(1)

        assert plain(nodes.items) == {"a": 2}
    assert [request.verb for request in cluster.requests if request.verb == "list"] == ["list"]


async def test_after_410_the_differences_are_told_deletions_included(
    cluster: Cluster, nodes: Informer[int], clock: Clock
) -> None:
    seen: list[tuple[str, str, Any, Any]] = []
    for name in ("same", "changed", "gone"):
        cluster.add(VGPU_NODES, node(name, 1))
    async with nodes:
        await nodes.synced()
        await settle()
        nodes.subscribe(recording(seen))
        seen.clear()
        cluster.end_watches(EXPIRED)
        await write(cluster, "changed", 2)
        await cluster.delete(VGPU_NODES, "gone")
        await cluster.create(VGPU_NODES, node("new", 1))
        cluster.compact()
        await clock.advance(2)

    assert sorted(seen) == [
        ("ADDED", "new", None, 1),
        ("DELETED", "gone", 1, None),
        ("MODIFIED", "changed", 1, 2),
    ]


async def test_a_bookmark_saves_the_list_after_a_compaction(
    cluster: Cluster, nodes: Informer[int], clock: Clock
) -> None:
    async with nodes:
        await nodes.synced()
        await settle()
        await cluster.create(CONFIGMAPS, {"metadata": {"name": "other"}}, "default")
        cluster.bookmark()
        cluster.compact()
        cluster.end_watches()
        await clock.advance(2)

        assert cluster.watching == 1
    assert len([request for request in cluster.requests if request.verb == "list"]) == 1


async def test_an_api_server_that_is_down_is_tried_again_with_growing_pauses(
    cluster: Cluster, nodes: Informer[int], clock: Clock
) -> None:
    cluster.add(VGPU_NODES, node("a", 1))
    cluster.fail_next(DOWN, verb="list", times=6)
    async with nodes:
        await clock.advance(0.5)
        early = len(cluster.requests)
        await clock.advance(10)

        assert nodes.has_synced
        assert early <= 4
    assert plain(nodes.items) == {"a": 1}


async def test_a_server_that_closes_every_watch_at_once_is_not_hammered(
    cluster: Cluster, nodes: Informer[int], clock: Clock
) -> None:
    async with nodes:
        await nodes.synced()
        for _ in range(1000):
            cluster.end_watches()
            await clock.advance(0.01)

    assert len([request for request in cluster.requests if request.verb == "watch"]) < 12


async def test_an_object_that_cannot_be_decoded_is_reported_and_the_rest_goes_on(cluster: Cluster) -> None:
    reported: list[DecodeError] = []
    nodes = Informer(
        cluster, VGPU_NODES, decode=lambda raw: int(raw["spec"]["revision"]), on_decode_error=reported.append
    )
    cluster.add(VGPU_NODES, {"metadata": {"name": "garbage"}, "spec": {"revision": "x"}})
    cluster.add(VGPU_NODES, node("good", 1))
    async with nodes:
        await nodes.synced()
        await cluster.patch_merge(VGPU_NODES, "good", {"spec": {"revision": "y"}})
        await settle()
        assert plain(nodes.items) == {"good": 1}, "the last good value stays"
        await write(cluster, "garbage", 5)
        await settle()

        assert plain(nodes.items) == {"good": 1, "garbage": 5}
    assert [error.key[1] for error in reported] == ["garbage", "good"]


async def test_a_writer_sees_its_own_write_before_the_watch_does(
    cluster: Cluster, nodes: Informer[int]
) -> None:
    seen: list[tuple[str, str, Any, Any]] = []
    cluster.add(VGPU_NODES, node("a", 1))
    async with nodes:
        await nodes.synced()
        nodes.subscribe(recording(seen))
        cluster.hold_watches()
        nodes.observe(await write(cluster, "a", 2))
        await settle()
        assert plain(nodes.items) == {"a": 2}
        cluster.release_watches()
        await settle()

    assert seen == [("ADDED", "a", None, 1), ("MODIFIED", "a", 1, 2)], "and hears of it once"


async def test_an_own_write_that_others_have_overwritten_does_not_bring_the_old_state_back(
    cluster: Cluster, nodes: Informer[int]
) -> None:
    cluster.add(VGPU_NODES, node("a", 1))
    async with nodes:
        await nodes.synced()
        answer = await write(cluster, "a", 2)
        await write(cluster, "a", 3)
        await settle()
        nodes.observe(answer)

        assert plain(nodes.items) == {"a": 3}


async def test_an_own_write_does_not_revive_what_was_deleted_meanwhile(
    cluster: Cluster, nodes: Informer[int]
) -> None:
    cluster.add(VGPU_NODES, node("a", 1))
    async with nodes:
        await nodes.synced()
        answer = await write(cluster, "a", 2)
        await cluster.delete(VGPU_NODES, "a")
        await settle()
        nodes.observe(answer)

        assert plain(nodes.items) == {}


async def test_a_late_deletion_does_not_remove_the_successor(cluster: Cluster, nodes: Informer[int]) -> None:
    cluster.add(VGPU_NODES, node("a", 1))
    async with nodes:
        await nodes.synced()
        cluster.hold_watches()
        await cluster.delete(VGPU_NODES, "a")
        nodes.observe(await cluster.create(VGPU_NODES, node("a", 9)))
        cluster.release_watches()
        await settle()

        assert plain(nodes.items) == {"a": 9}


async def test_what_the_selector_does_not_select_is_not_observed(cluster: Cluster) -> None:
    nodes = Informer(cluster, VGPU_NODES, labels="gpu=yes")
    async with nodes:
        await nodes.synced()
        cluster.hold_watches()
        nodes.observe(await cluster.create(VGPU_NODES, node("plain")))
        nodes.observe(await cluster.create(VGPU_NODES, node("gpu", gpu="yes")))

        assert [*plain(nodes.items)] == ["gpu"]


async def test_reached_waits_for_the_watch(cluster: Cluster, nodes: Informer[int]) -> None:
    async with nodes:
        await nodes.synced()
        cluster.hold_watches()
        version = objects.resource_version(await cluster.create(VGPU_NODES, node("a", 1)))
        waiting = asyncio.create_task(nodes.reached(version))
        await settle()
        assert not waiting.done()
        cluster.release_watches()
        await waiting

        assert plain(nodes.items) == {"a": 1}


async def test_reached_gives_up_in_time(cluster: Cluster, nodes: Informer[int]) -> None:
    async with nodes:
        await nodes.synced()

        with pytest.raises(TimeoutError):
            await nodes.reached(10**9, timeout=0)


async def test_last_contact_tells_a_stale_cache(cluster: Cluster, nodes: Informer[int], clock: Clock) -> None:
    assert nodes.last_contact is None
    async with nodes:
        await nodes.synced()
        first = nodes.last_contact
        await clock.advance(60)
        assert nodes.last_contact == first
        cluster.bookmark()
        await settle()

        assert nodes.last_contact == clock.monotonic()


async def test_a_restored_history_replaces_the_cache(clock: Clock) -> None:
    cluster = Cluster()
    cluster.add(VGPU_NODES, node("a", 1))
    cluster.add(VGPU_NODES, node("b", 2))
    nodes = Informer(
        cluster,
        VGPU_NODES,
        decode=lambda raw: int(raw["spec"]["revision"]),
        clock=clock.monotonic,
        sleep=clock.sleep,
    )
    async with nodes:
        await nodes.synced()
        await settle()
        backup = Cluster()
        backup.add(VGPU_NODES, node("a", 7))
        nodes._kube = backup
        cluster.end_watches(EXPIRED)
        await clock.advance(2)

        assert plain(nodes.items) == {"a": 7}


async def test_the_version_of_a_value_is_known(cluster: Cluster, nodes: Informer[int]) -> None:
    raw = cluster.add(VGPU_NODES, node("a", 1))
    async with nodes:
        await nodes.synced()

        assert nodes.version((None, "a")) == int(objects.resource_version(raw))
        assert nodes.version((None, "b")) is None


async def test_a_large_list_lets_others_run(clock: Clock) -> None:
    """With 10 ms of decoding per object, nobody waits for more than a few objects."""
    cluster = Cluster()
    for number in range(50):
        cluster.add(VGPU_NODES, node(f"n{number}", number))

    def decode(raw: Object) -> int:
        clock._time += 0.01
        return int(raw["spec"]["revision"])

    nodes = Informer(cluster, VGPU_NODES, decode=decode, clock=clock.monotonic, sleep=clock.sleep)
    longest = 0.0
    async with nodes:
        while not nodes.has_synced:
            before = clock.monotonic()
            await asyncio.sleep(0)
            longest = max(longest, clock.monotonic() - before)

    assert len(nodes.items) == 50
    assert longest <= informer.SLICE_SECONDS + 0.0101


async def test_what_ends_the_task_early_does_not_go_unnoticed(cluster: Cluster) -> None:
    raw = cluster.add(VGPU_NODES, node("a", 1))
    nodes = Informer(cluster, VGPU_NODES)
    stored = cluster._store.find(VGPU_NODES, objects.key(raw))
    assert stored is not None
    stored["metadata"]["resourceVersion"] = "opaque"

    async def follow() -> None:
        async with nodes:
            await settle()

    with pytest.raises(ValueError, match="expected a decimal resourceVersion"):
        await follow()


def test_the_kinds_of_change_have_the_words_of_a_watch() -> None:
    assert {kind.value for kind in ChangeKind} == {"ADDED", "MODIFIED", "DELETED"}
