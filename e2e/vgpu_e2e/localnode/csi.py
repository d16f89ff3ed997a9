"""The kubelet's side of a CSI socket: the two calls that a pod's inline volume causes."""

import hashlib
from pathlib import Path
from typing import Any, Self

import grpc
import grpc.aio
from google.protobuf.message import Message

from vgpu_agent.csi import csi_pb2
from vgpu_e2e.rest import Object

CALL_SECONDS = 120.0  # the kubelet's limit


class Plugin:
    """A node plugin behind its socket; connects when it is called, and again after a restart."""

    def __init__(self, socket: Path) -> None:
        options = [("grpc.max_reconnect_backoff_ms", 200), ("grpc.initial_reconnect_backoff_ms", 50)]
        self._channel = grpc.aio.insecure_channel(f"unix://{socket}", options=options)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._channel.close()

    async def publish(self, pod: Object, volume: str, target: Path) -> None:
        """Show the volume at the target. Raises grpc.aio.AioRpcError."""
        about = pod["metadata"]
        request = csi_pb2.NodePublishVolumeRequest(
            volume_id=volume_id(pod, volume),
            target_path=str(target),
            readonly=True,
            volume_context={
                "csi.storage.k8s.io/pod.name": about["name"],
                "csi.storage.k8s.io/pod.namespace": about["namespace"],
                "csi.storage.k8s.io/pod.uid": about["uid"],
                "csi.storage.k8s.io/serviceAccount.name": pod["spec"].get("serviceAccountName", "default"),
                "csi.storage.k8s.io/ephemeral": "true",
            },
        )
        request.volume_capability.mount.SetInParent()
        await self._call("NodePublishVolume", request, csi_pb2.NodePublishVolumeResponse)

    async def unpublish(self, pod: Object, volume: str, target: Path) -> None:
        """Take the volume away from the target. Raises grpc.aio.AioRpcError."""
        request = csi_pb2.NodeUnpublishVolumeRequest(
            volume_id=volume_id(pod, volume), target_path=str(target)
        )
        await self._call("NodeUnpublishVolume", request, csi_pb2.NodeUnpublishVolumeResponse)

    async def _call(self, method: str, request: Message, answer: type[Message]) -> None:
        call: Any = self._channel.unary_unary(
            f"/csi.v1.Node/{method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=answer.FromString,
        )
        await call(request, timeout=CALL_SECONDS)


def volume_id(pod: Object, volume: str) -> str:
    """Return an id of a pod's inline volume, the same at every call."""
    about = pod["metadata"]
    text = f"{volume}/{about['namespace']}/{about['uid']}"
    return f"csi-{hashlib.sha256(text.encode()).hexdigest()}"
