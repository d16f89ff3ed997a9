import pytest

from vgpu_kube import errors, patches
from vgpu_kube.objects import Object
from vgpu_kube.protocol import Ops
from vgpu_kube.resources import VGPU_NODES
from vgpu_kube.testing import Cluster, Moment, Request


def bump(raw: Object) -> Ops:
    revision = raw["spec"]["revision"]
    return [patches.test("/spec/revision", revision), patches.replace("/spec/revision", revision + 1)]


def node(cluster: Cluster) -> Object:
    return cluster.add(VGPU_NODES, {"metadata": {"name": "n"}, "spec": {"revision": 1}})


def revision(cluster: Cluster) -> int:
    found: int = cluster.objects(VGPU_NODES)[0]["spec"]["revision"]
    return found


def racing(cluster: Cluster, times: int) -> None:
    """Somebody else bumps the revision before each of the next patches."""
    left = times

    async def interfere(request: Request, moment: Moment) -> None:
        nonlocal left
        if request.verb == "patch_json" and moment is Moment.BEFORE and left:
            left -= 1
            await cluster.patch_merge(VGPU_NODES, "n", {"spec": {"revision": revision(cluster) + 10}})

    cluster.on_request = interfere


def test_pointers_escape_what_json_pointers_reserve() -> None:
    assert (
        patches.pointer("metadata", "annotations", "vgpu.dev/a~b", 0)
        == "/metadata/annotations/vgpu.dev~1a~0b/0"
    )
    assert patches.pointer() == ""


async def test_a_rewrite_decides_again_on_what_a_conflict_found(cluster: Cluster) -> None:
    node(cluster)
    racing(cluster, 2)

    written = await patches.rewrite(cluster, VGPU_NODES, "n", bump)

    assert written["spec"]["revision"] == revision(cluster) == 22


async def test_a_rewrite_gives_up_after_its_attempts(cluster: Cluster) -> None:
    node(cluster)
    racing(cluster, 99)

    with pytest.raises(errors.Conflict):
        await patches.rewrite(cluster, VGPU_NODES, "n", bump, attempts=3)

    assert len([request for request in cluster.requests if request.verb == "patch_json"]) == 3


async def test_a_rewrite_begins_with_the_state_in_hand(cluster: Cluster) -> None:
    raw = node(cluster)

    await patches.rewrite(cluster, VGPU_NODES, "n", bump, initial=raw)

    assert [request.verb for request in cluster.requests] == ["patch_json"]


async def test_a_rewrite_with_nothing_to_do_writes_nothing(cluster: Cluster) -> None:
    node(cluster)

    found = await patches.rewrite(cluster, VGPU_NODES, "n", lambda raw: None)

    assert found["spec"]["revision"] == 1
    assert [request.verb for request in cluster.requests] == ["get"]


async def test_what_decide_raises_reaches_the_caller(cluster: Cluster) -> None:
    node(cluster)

    def refuse(raw: Object) -> Ops:
        raise LookupError("no room")

    with pytest.raises(LookupError, match="no room"):
        await patches.rewrite(cluster, VGPU_NODES, "n", refuse)


async def test_a_rewrite_needs_an_attempt(cluster: Cluster) -> None:
    with pytest.raises(ValueError, match="at least one attempt"):
        await patches.rewrite(cluster, VGPU_NODES, "n", bump, attempts=0)
