"""The CSI services, called as the kubelet calls them; once over a socket, else directly."""

import asyncio
import pathlib
from typing import Protocol

import grpc
import grpc.aio
import pytest

import builders
from vgpu import values
from vgpu_agent import mounts
from vgpu_agent.csi import csi_pb2, registration_pb2, server
from vgpu_agent.csi.service import POD_UID, CallError, Changes, Service
from vgpu_agent.home import Home


class Built(Protocol):
    @property
    def shim(self) -> pathlib.Path: ...


class Slices:
    """What the rest of the agent knows."""

    def __init__(self) -> None:
        self.known: dict[str, values.Slice] = {}
        self.blocked: str | None = None
        self.seen: list[str] = []
        self.gone: list[str] = []

    def slice_of(self, pod_uid: str) -> values.Slice | None:
        return self.known.get(pod_uid)

    def obstacle(self, slice_id: str) -> str | None:
        return self.blocked

    def shown(self, slice_id: str) -> None:
        self.seen.append(slice_id)

    def released(self, slice_id: str) -> None:
        self.gone.append(slice_id)


class Node:
    """A service with its files, and the calls of a kubelet."""

    def __init__(self, root: pathlib.Path, shim: pathlib.Path, *, wait_seconds: float = 30.0) -> None:
        self.slices, self.changes = Slices(), Changes()
        self.home = Home(root / "home", mounts.LinkMounts(), shim)
        self.home.prepare()
        self.target = root / "pods" / "p" / "mount"
        self.service = Service(
            self.home,
            self.slices,
            self.changes,
            node_name="node-0",
            driver="vgpu.dev",
            version="1",
            wait_seconds=wait_seconds,
        )

    def gain(self, pod: str = "p") -> None:
        self.slices.known[pod] = builders.slice_(pod)
        self.home.make_slice(pod)
        self.changes.tell()

    async def publish(self, *, volume: str = "v", pod: str = "p", **changes: str) -> None:
        await self.service.node_publish_volume(self.request(volume=volume, pod=pod, **changes))

    def request(
        self, *, volume: str = "v", pod: str = "p", access: str = "mount", target: str | None = None
    ) -> csi_pb2.NodePublishVolumeRequest:
        request = csi_pb2.NodePublishVolumeRequest(
            volume_id=volume,
            target_path=str(self.target) if target is None else target,
            volume_context={POD_UID: pod} if pod else {},
        )
        if access:
            getattr(request.volume_capability, access).SetInParent()
        return request

    async def unpublish(self, volume: str = "v") -> None:
        await self.service.node_unpublish_volume(
            csi_pb2.NodeUnpublishVolumeRequest(volume_id=volume, target_path=str(self.target))
        )


@pytest.fixture
def node(built: Built, tmp_path: pathlib.Path) -> Node:
    return Node(tmp_path, built.shim)


async def test_publish_shows_the_directory_of_the_pods_slice(node: Node) -> None:
    node.gain()

    await node.publish()

    assert (node.target / "ld.so.preload").exists()
    volume = node.home.volume("v")
    assert volume is not None
    assert (volume.slice_id, volume.pod_uid) == ("p", "p")


async def test_publish_waits_until_the_slice_is_in_the_ledger_and_in_force(node: Node) -> None:
    node.slices.blocked = "its limits page is not written yet"
    waiting = asyncio.create_task(node.publish())
    await asyncio.sleep(0)
    node.gain()
    await asyncio.sleep(0)
    assert not waiting.done()

    node.slices.blocked = None
    node.changes.tell()
    await waiting

    assert node.target.exists()


async def test_publish_gives_up_with_the_reason_and_leaves_nothing(
    built: Built, tmp_path: pathlib.Path
) -> None:
    node = Node(tmp_path, built.shim, wait_seconds=0.0)

    with pytest.raises(CallError, match="no slice for it") as refusal:
        await node.publish()

    assert refusal.value.code is grpc.StatusCode.UNAVAILABLE
    assert not node.target.exists()
    assert node.home.volume("v") is None


async def test_publishing_again_changes_nothing_even_when_the_slice_is_gone(node: Node) -> None:
    node.gain()
    await node.publish()
    del node.slices.known["p"]

    await node.publish()

    assert node.target.exists()


async def test_two_publishes_of_one_volume_take_turns(node: Node) -> None:
    calls = [asyncio.create_task(node.publish()) for _ in range(2)]
    await asyncio.sleep(0)
    node.gain()

    await asyncio.gather(*calls)

    assert node.target.exists()


async def test_unpublish_takes_the_directory_away_and_releases_the_slice(node: Node) -> None:
    node.gain()
    await node.publish()

    await node.unpublish()
    await node.unpublish()

    assert not node.target.exists()
    assert node.home.volume("v") is None
    assert node.slices.gone == ["p"]


async def test_volumes_outlive_the_agent(node: Node, built: Built, tmp_path: pathlib.Path) -> None:
    node.gain()
    await node.publish()

    restarted = Node(tmp_path, built.shim)
    await restarted.publish()
    await restarted.unpublish()

    assert restarted.slices.gone == ["p"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"volume": ""}, "expected volume_id"),
        ({"target": ""}, "expected target_path"),
        ({"access": ""}, "expected a volume_capability"),
        ({"access": "block"}, "found block"),
        ({"pod": ""}, "podInfoOnMount"),
    ],
)
async def test_a_malformed_request_is_told_what_is_missing(
    node: Node, changes: dict[str, str], said: str
) -> None:
    with pytest.raises(CallError, match=said) as refusal:
        await node.publish(**changes)

    assert refusal.value.code is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_volume_id_cannot_lead_out_of_the_home(node: Node) -> None:
    node.gain()

    with pytest.raises(CallError) as refusal:
        await node.publish(volume="../../etc/passwd")

    assert refusal.value.code is grpc.StatusCode.INVALID_ARGUMENT


async def test_the_kubelet_finds_the_plugin_and_calls_it(node: Node, tmp_path: pathlib.Path) -> None:
    socket, registration = tmp_path / "csi.sock", tmp_path / "registry" / "reg.sock"
    node.gain()
    async with server.serving(node.service, driver="vgpu.dev", socket=socket, registration=registration):
        async with grpc.aio.insecure_channel(f"unix://{registration}") as channel:
            get_info = channel.unary_unary(
                "/pluginregistration.Registration/GetInfo",
                request_serializer=registration_pb2.InfoRequest.SerializeToString,
                response_deserializer=registration_pb2.PluginInfo.FromString,
            )
            plugin = await get_info(registration_pb2.InfoRequest())
        async with grpc.aio.insecure_channel(f"unix://{plugin.endpoint}") as channel:
            publish = channel.unary_unary(
                "/csi.v1.Node/NodePublishVolume",
                request_serializer=csi_pb2.NodePublishVolumeRequest.SerializeToString,
                response_deserializer=csi_pb2.NodePublishVolumeResponse.FromString,
            )
            await publish(node.request())
            with pytest.raises(grpc.aio.AioRpcError) as refusal:
                await publish(node.request(volume=""))

    assert (plugin.type, plugin.name, list(plugin.supported_versions)) == (
        "CSIPlugin",
        "vgpu.dev",
        ["1.0.0"],
    )
    assert node.target.exists()
    assert refusal.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert not registration.exists()


async def test_a_path_too_long_for_a_socket_is_refused_in_words(node: Node, tmp_path: pathlib.Path) -> None:
    long = tmp_path / ("x" * 100) / "csi.sock"

    with pytest.raises(ValueError, match="107 bytes at most"):
        async with server.serving(node.service, driver="vgpu.dev", socket=long, registration=long):
            pass
