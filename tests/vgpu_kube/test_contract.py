"""What every implementation of the door promises: the in-memory cluster and the client on an API server."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from vgpu_kube import errors, objects, patches
from vgpu_kube.objects import Object
from vgpu_kube.protocol import Kube, WatchEvent
from vgpu_kube.resources import CONFIGMAPS, LEASES, PODS, VGPU_CLAIMS, VGPU_POOLS

CLAIM_SPEC = {"deviceCount": 1, "resources": {"requests": {"memory": "16Gi", "computePercent": 25}}}
READY = {"type": "Ready", "status": "True", "reason": "Bound", "lastTransitionTime": "2026-01-01T00:00:00Z"}
ACCEPTED = {**READY, "type": "Accepted", "reason": "WithinQuota"}


def config(name: str = "c", **data: str) -> Object:
    return {"metadata": {"name": name}, "data": data}


def condition(body: dict[str, Any]) -> Object:
    return {"status": {"conditions": [{"message": "", **body}]}}


def pod(name: str = "p", **spec: Any) -> Object:
    container = {"name": "main", "image": "none"}
    return {
        "metadata": {"name": name},
        "spec": {"containers": [container], "schedulerName": "nobody", **spec},
    }


async def take(events: AsyncIterator[WatchEvent], count: int) -> list[tuple[str, str]]:
    """The next changes (no bookmarks) as (type, name)."""
    found: list[tuple[str, str]] = []
    async with asyncio.timeout(10):
        async for kind, raw in events:
            if kind != "BOOKMARK":
                found.append((kind, raw["metadata"]["name"]))
            if len(found) == count:
                return found
    raise AssertionError(f"expected {count} events, the watch ended after {found}")


async def test_a_created_object_is_found_with_its_identity(kube: Kube, namespace: str) -> None:
    created = await kube.create(CONFIGMAPS, config(a="1"), namespace)

    found = await kube.get(CONFIGMAPS, "c", namespace)

    assert objects.uid(found) == objects.uid(created)
    assert objects.key(found) == (namespace, "c")
    assert found["data"] == {"a": "1"}
    assert (found["kind"], found["apiVersion"]) == ("ConfigMap", "v1")


async def test_what_is_not_there_is_not_found(kube: Kube, namespace: str) -> None:
    with pytest.raises(errors.NotFound, match='"nothing" not found'):
        await kube.get(CONFIGMAPS, "nothing", namespace)
    with pytest.raises(errors.NotFound):
        await kube.delete(CONFIGMAPS, "nothing", namespace)
    with pytest.raises(errors.NotFound):
        await kube.patch_merge(CONFIGMAPS, "nothing", {"data": {"a": "1"}}, namespace)


async def test_a_name_is_taken_once(kube: Kube, namespace: str) -> None:
    await kube.create(CONFIGMAPS, config(), namespace)

    with pytest.raises(errors.AlreadyExists):
        await kube.create(CONFIGMAPS, config(), namespace)


async def test_a_name_of_300_characters_is_invalid(kube: Kube, namespace: str) -> None:
    with pytest.raises(errors.Invalid):
        await kube.create(CONFIGMAPS, config("c" * 300), namespace)


async def test_a_list_holds_what_the_selectors_select(kube: Kube, namespace: str) -> None:
    for name, team in (("a", "red"), ("b", "blue"), ("c", "red")):
        body = config(name)
        body["metadata"]["labels"] = {"team": team}
        await kube.create(CONFIGMAPS, body, namespace)

    async def names(labels: str | None = None, fields: str | None = None) -> list[str]:
        found = await kube.list(CONFIGMAPS, namespace, labels, fields)
        return [raw["metadata"]["name"] for raw in found.items if raw["metadata"]["name"] in "abc"]

    assert await names("team=red") == ["a", "c"]
    assert await names("team!=red") == ["b"]
    assert await names("team in (red, blue),team notin (blue)") == ["a", "c"]
    assert await names("!team") == []
    assert await names("team") == ["a", "b", "c"]
    assert await names(fields="metadata.name=b") == ["b"]


async def test_a_list_is_as_new_as_the_last_write(kube: Kube, namespace: str) -> None:
    created = await kube.create(CONFIGMAPS, config(), namespace)

    listed = await kube.list(CONFIGMAPS, namespace)

    assert objects.revision(listed.resource_version) >= objects.revision(objects.resource_version(created))


async def test_a_json_patch_whose_test_fails_is_a_conflict_and_changes_nothing(
    kube: Kube, namespace: str
) -> None:
    await kube.create(CONFIGMAPS, config(revision="1"), namespace)
    ops = [patches.test("/data/revision", "2"), patches.replace("/data/revision", "3")]

    with pytest.raises(errors.Conflict):
        await kube.patch_json(CONFIGMAPS, "c", ops, namespace)

    assert (await kube.get(CONFIGMAPS, "c", namespace))["data"] == {"revision": "1"}


async def test_a_json_patch_whose_path_is_not_there_is_a_conflict(kube: Kube, namespace: str) -> None:
    await kube.create(CONFIGMAPS, config(), namespace)

    with pytest.raises(errors.Conflict):
        await kube.patch_json(CONFIGMAPS, "c", [patches.remove("/data/nothing")], namespace)


async def test_a_json_patch_that_makes_an_object_invalid_is_no_conflict(kube: Kube, namespace: str) -> None:
    await kube.create(CONFIGMAPS, config(), namespace)

    ops = [patches.add("/metadata/labels", {"team": "l" * 64})]
    with pytest.raises(errors.Invalid):
        await kube.patch_json(CONFIGMAPS, "c", ops, namespace)


async def test_annotations_with_slashes_are_patched_by_escaped_pointers(kube: Kube, namespace: str) -> None:
    body = config()
    body["metadata"]["annotations"] = {"vgpu.dev/retry": "1", "other": "kept"}
    await kube.create(CONFIGMAPS, body, namespace)
    path = patches.pointer("metadata", "annotations", "vgpu.dev/retry")

    patched = await kube.patch_json(CONFIGMAPS, "c", [patches.add(path, "2")], namespace)

    assert patched["metadata"]["annotations"] == {"vgpu.dev/retry": "2", "other": "kept"}


async def test_a_write_on_an_older_version_is_a_conflict(kube: Kube, namespace: str) -> None:
    old = await kube.create(CONFIGMAPS, config(a="1"), namespace)
    await kube.patch_merge(CONFIGMAPS, "c", {"data": {"a": "2"}}, namespace)

    with pytest.raises(errors.Conflict):
        await kube.patch_json(
            CONFIGMAPS, "c", [patches.unchanged(old), patches.add("/data/b", "1")], namespace
        )
    stale = {"metadata": {"resourceVersion": objects.resource_version(old)}, "data": {"b": "1"}}
    with pytest.raises(errors.Conflict):
        await kube.patch_merge(CONFIGMAPS, "c", stale, namespace)


async def test_a_merge_patch_removes_by_null_and_keeps_the_rest(kube: Kube, namespace: str) -> None:
    await kube.create(CONFIGMAPS, config(a="1", b="2"), namespace)

    patched = await kube.patch_merge(CONFIGMAPS, "c", {"data": {"a": None, "c": "3"}}, namespace)

    assert patched["data"] == {"b": "2", "c": "3"}


async def test_a_write_that_changes_nothing_makes_no_new_version(kube: Kube, namespace: str) -> None:
    created = await kube.create(CONFIGMAPS, config(a="1"), namespace)

    patched = await kube.patch_merge(CONFIGMAPS, "c", {"data": {"a": "1"}}, namespace)

    assert objects.resource_version(patched) == objects.resource_version(created)


async def test_status_and_spec_have_doors_of_their_own(kube: Kube, namespace: str) -> None:
    await kube.create(
        VGPU_CLAIMS, {"metadata": {"name": "v"}, "spec": CLAIM_SPEC, **condition(READY)}, namespace
    )
    born = await kube.get(VGPU_CLAIMS, "v", namespace)

    both = {"spec": {"priority": 7}, "status": {"podCount": 3}}
    through_spec = await kube.patch_merge(VGPU_CLAIMS, "v", both, namespace)
    both = {"spec": {"priority": 9}, "status": {"podCount": 3}}
    through_status = await kube.patch_merge(VGPU_CLAIMS, "v", both, namespace, "status")

    assert "conditions" not in born.get("status", {})
    assert "podCount" not in through_spec.get("status", {})
    assert through_spec["metadata"]["generation"] == 2
    assert through_status["spec"]["priority"] == 7
    assert through_status["status"]["podCount"] == 3
    assert through_status["metadata"]["generation"] == 2


async def test_two_managers_apply_their_own_conditions(kube: Kube, namespace: str) -> None:
    await kube.create(VGPU_CLAIMS, {"metadata": {"name": "v"}, "spec": CLAIM_SPEC}, namespace)

    await kube.apply(VGPU_CLAIMS, "v", condition(READY), "summary", namespace, "status")
    await kube.apply(VGPU_CLAIMS, "v", condition(ACCEPTED), "quota", namespace, "status")
    changed = {**READY, "status": "False", "reason": "NoFit"}
    applied = await kube.apply(VGPU_CLAIMS, "v", condition(changed), "summary", namespace, "status")

    found = {entry["type"]: entry["reason"] for entry in applied["status"]["conditions"]}
    assert found == {"Ready": "NoFit", "Accepted": "WithinQuota"}


async def test_what_a_manager_no_longer_applies_goes(kube: Kube, namespace: str) -> None:
    await kube.create(VGPU_CLAIMS, {"metadata": {"name": "v"}, "spec": CLAIM_SPEC}, namespace)
    await kube.apply(VGPU_CLAIMS, "v", condition(ACCEPTED), "quota", namespace, "status")
    await kube.apply(VGPU_CLAIMS, "v", condition(READY), "summary", namespace, "status")

    applied = await kube.apply(VGPU_CLAIMS, "v", {"status": {"podCount": 1}}, "summary", namespace, "status")

    assert [entry["type"] for entry in applied["status"]["conditions"]] == ["Accepted"]
    assert applied["status"]["podCount"] == 1


async def test_an_apply_without_force_conflicts_with_another_manager(kube: Kube, namespace: str) -> None:
    await kube.apply(CONFIGMAPS, "c", {"data": {"a": "1"}}, "one", namespace)

    with pytest.raises(errors.Conflict):
        await kube.apply(CONFIGMAPS, "c", {"data": {"a": "2"}}, "two", namespace, force=False)
    forced = await kube.apply(CONFIGMAPS, "c", {"data": {"a": "2"}}, "two", namespace)

    assert forced["data"] == {"a": "2"}


async def test_a_watch_tells_every_change_in_order(kube: Kube, namespace: str) -> None:
    start = (await kube.list(LEASES, namespace)).resource_version
    await kube.create(LEASES, {"metadata": {"name": "a"}, "spec": {"holderIdentity": "x"}}, namespace)
    await kube.create(LEASES, {"metadata": {"name": "b"}, "spec": {"holderIdentity": "x"}}, namespace)
    await kube.patch_merge(LEASES, "a", {"spec": {"holderIdentity": "y"}}, namespace)
    await kube.delete(LEASES, "b", namespace)

    events = kube.watch(LEASES, start, namespace, timeout=10)

    assert await take(events, 4) == [("ADDED", "a"), ("ADDED", "b"), ("MODIFIED", "a"), ("DELETED", "b")]
    await events.aclose()


async def test_to_a_watch_with_a_selector_what_leaves_the_selection_is_deleted(
    kube: Kube, namespace: str
) -> None:
    start = (await kube.list(CONFIGMAPS, namespace)).resource_version
    body = config("a")
    body["metadata"]["labels"] = {"team": "red"}
    await kube.create(CONFIGMAPS, body, namespace)
    await kube.patch_merge(CONFIGMAPS, "a", {"metadata": {"labels": {"team": "blue"}}}, namespace)
    await kube.patch_merge(CONFIGMAPS, "a", {"metadata": {"labels": {"team": "red"}}}, namespace)

    events = kube.watch(CONFIGMAPS, start, namespace, "team=red", timeout=10)

    assert await take(events, 3) == [("ADDED", "a"), ("DELETED", "a"), ("ADDED", "a")]
    await events.aclose()


async def test_a_deletion_event_carries_the_version_of_the_deletion(kube: Kube, namespace: str) -> None:
    created = await kube.create(LEASES, {"metadata": {"name": "a"}, "spec": {}}, namespace)
    version = objects.resource_version(created)
    await kube.delete(LEASES, "a", namespace)

    events = kube.watch(LEASES, version, namespace, timeout=10)
    kind, raw = await anext(events)

    assert kind == "DELETED"
    assert objects.revision(objects.resource_version(raw)) > objects.revision(version)
    await events.aclose()


async def test_a_deletion_of_another_object_of_that_name_is_a_conflict(kube: Kube, namespace: str) -> None:
    created = await kube.create(CONFIGMAPS, config(), namespace)

    with pytest.raises(errors.Conflict):
        await kube.delete(CONFIGMAPS, "c", namespace, uid="00000000-0000-4000-8000-ffffffffffff")
    with pytest.raises(errors.Conflict):
        await kube.delete(CONFIGMAPS, "c", namespace, resource_version="1")
    await kube.delete(CONFIGMAPS, "c", namespace, uid=objects.uid(created))

    with pytest.raises(errors.NotFound):
        await kube.get(CONFIGMAPS, "c", namespace)


async def test_a_finalizer_holds_an_object_until_it_is_removed(kube: Kube, namespace: str) -> None:
    body = config()
    body["metadata"]["finalizers"] = ["vgpu.dev/in-use"]
    await kube.create(CONFIGMAPS, body, namespace)

    await kube.delete(CONFIGMAPS, "c", namespace)
    ending = await kube.get(CONFIGMAPS, "c", namespace)
    await kube.patch_merge(CONFIGMAPS, "c", {"metadata": {"finalizers": None}}, namespace)

    assert "deletionTimestamp" in ending["metadata"]
    with pytest.raises(errors.NotFound):
        await kube.get(CONFIGMAPS, "c", namespace)


async def test_a_binding_sets_node_and_annotations_in_one_write(kube: Kube) -> None:
    created = await kube.create(PODS, pod("bind-once"), "default")
    uid = objects.uid(created)

    await kube.bind("default", "bind-once", uid, "gpu-1", {"vgpu.dev/devices": "GPU-1"})
    bound = await kube.get(PODS, "bind-once", "default")
    with pytest.raises(errors.Conflict, match="already assigned"):
        await kube.bind("default", "bind-once", uid, "gpu-2", {"vgpu.dev/devices": "GPU-2"})

    assert bound["spec"]["nodeName"] == "gpu-1"
    assert bound["metadata"]["annotations"]["vgpu.dev/devices"] == "GPU-1"
    await kube.delete(PODS, "bind-once", "default", grace_seconds=0)


async def test_a_binding_for_another_pod_of_that_name_is_a_conflict(kube: Kube) -> None:
    await kube.create(PODS, pod("bind-other"), "default")

    with pytest.raises(errors.Conflict):
        await kube.bind("default", "bind-other", "00000000-0000-4000-8000-ffffffffffff", "gpu-1", {})

    await kube.delete(PODS, "bind-other", "default", grace_seconds=0)


async def test_a_gated_pod_cannot_be_bound(kube: Kube) -> None:
    created = await kube.create(
        PODS, pod("bind-gated", schedulingGates=[{"name": "vgpu.dev/queue"}]), "default"
    )

    with pytest.raises(errors.Conflict, match="schedulingGates"):
        await kube.bind("default", "bind-gated", objects.uid(created), "gpu-1", {})

    await kube.delete(PODS, "bind-gated", "default", grace_seconds=0)


async def test_a_bound_pod_that_is_deleted_ends_when_its_node_says_so(kube: Kube) -> None:
    created = await kube.create(PODS, pod("bind-end"), "default")
    await kube.bind("default", "bind-end", objects.uid(created), "gpu-1", {})

    await kube.delete(PODS, "bind-end", "default", grace_seconds=30)
    ending = await kube.get(PODS, "bind-end", "default")
    await kube.delete(PODS, "bind-end", "default", grace_seconds=0)

    assert "deletionTimestamp" in ending["metadata"]
    with pytest.raises(errors.NotFound):
        await kube.get(PODS, "bind-end", "default")


async def test_a_namespace_is_asked_for_where_one_is_needed(kube: Kube) -> None:
    with pytest.raises(ValueError, match="expected a namespace"):
        await kube.get(CONFIGMAPS, "c")
    with pytest.raises(ValueError, match="expected no namespace"):
        await kube.get(VGPU_POOLS, "a100", "default")
