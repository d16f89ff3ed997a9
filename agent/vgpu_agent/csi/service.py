"""What the kubelet's calls mean: publish waits for a slice and shows its directory, unpublish takes it away.

The pod's identity comes from the kubelet, which overwrites what users write there; nothing else in the
volume's attributes is looked at. Only UNAVAILABLE is answered where a call may work later: after INTERNAL and
its like the kubelet would not call unpublish, and what was mounted would stay.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import grpc

from vgpu import values
from vgpu_agent.csi import csi_pb2
from vgpu_agent.home import Home, Volume, checked
from vgpu_kube import logs

POD_UID = "csi.storage.k8s.io/pod.uid"
POD_NAME = "csi.storage.k8s.io/pod.name"
POD_NAMESPACE = "csi.storage.k8s.io/pod.namespace"

WAIT_SECONDS = 100.0
"""How long publish waits for a slice; the kubelet gives up after 120 s."""

logger = logging.getLogger(__name__)


class CallError(Exception):
    """The answer to a call that cannot be done: a gRPC status and what to do."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Slices(Protocol):
    """What publish asks of the rest of the agent."""

    def slice_of(self, pod_uid: str) -> values.Slice | None:
        """The slice a pod lives in, if the ledger has it."""
        ...

    def obstacle(self, slice_id: str) -> str | None:
        """Why its pods must not start yet."""
        ...

    def shown(self, slice_id: str) -> None:
        """One pod more shows this slice."""
        ...

    def released(self, slice_id: str) -> None:
        """One pod fewer shows this slice."""
        ...


class Changes:
    """Wakes everybody who waits for the agent to know more."""

    def __init__(self) -> None:
        self._next = asyncio.Event()

    def tell(self) -> None:
        """Something is different."""
        self._next.set()
        self._next = asyncio.Event()

    async def wait(self) -> None:
        """Returns at the next ``tell``."""
        await self._next.wait()


class Service:
    """The Identity and Node services, without the wire."""

    def __init__(
        self,
        home: Home,
        slices: Slices,
        changes: Changes,
        *,
        node_name: str,
        driver: str,
        version: str,
        wait_seconds: float = WAIT_SECONDS,
        ready: Callable[[], bool] = lambda: True,
    ) -> None:
        self._home = home
        self._slices = slices
        self._changes = changes
        self._node_name = node_name
        self._driver = driver
        self._version = version
        self._wait_seconds = wait_seconds
        self._ready = ready
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    # ---- Identity

    async def get_plugin_info(self, _: csi_pb2.GetPluginInfoRequest) -> csi_pb2.GetPluginInfoResponse:
        """The driver's name and version."""
        return csi_pb2.GetPluginInfoResponse(name=self._driver, vendor_version=self._version)

    async def get_plugin_capabilities(
        self, _: csi_pb2.GetPluginCapabilitiesRequest
    ) -> csi_pb2.GetPluginCapabilitiesResponse:
        """None: there is no controller."""
        return csi_pb2.GetPluginCapabilitiesResponse()

    async def probe(self, _: csi_pb2.ProbeRequest) -> csi_pb2.ProbeResponse:
        """Whether the agent knows its ledger."""
        answer = csi_pb2.ProbeResponse()
        answer.ready.value = self._ready()
        return answer

    # ---- Node

    async def node_get_info(self, _: csi_pb2.NodeGetInfoRequest) -> csi_pb2.NodeGetInfoResponse:
        """The node's name."""
        return csi_pb2.NodeGetInfoResponse(node_id=self._node_name)

    async def node_get_capabilities(
        self, _: csi_pb2.NodeGetCapabilitiesRequest
    ) -> csi_pb2.NodeGetCapabilitiesResponse:
        """None beyond publish and unpublish."""
        return csi_pb2.NodeGetCapabilitiesResponse()

    async def node_publish_volume(
        self, request: csi_pb2.NodePublishVolumeRequest
    ) -> csi_pb2.NodePublishVolumeResponse:
        """Shows the directory of the pod's slice at the target, once its limits are in force."""
        pod_uid = _publishable(request)
        async with self._turns[request.volume_id]:
            if not self._is_published(request):
                slice_ = await self._slice_in_force(pod_uid)
                self._publish(request, slice_, pod_uid)
        return csi_pb2.NodePublishVolumeResponse()

    async def node_unpublish_volume(
        self, request: csi_pb2.NodeUnpublishVolumeRequest
    ) -> csi_pb2.NodeUnpublishVolumeResponse:
        """Takes the target away, whatever is or is not known of the volume."""
        _named(request.volume_id)
        target = Path(_required(request.target_path, "target_path"))
        async with self._turns[request.volume_id]:
            volume = self._home.volume(request.volume_id)
            try:
                self._home.mounts.withdraw(target)
            except OSError as error:
                raise CallError(grpc.StatusCode.UNAVAILABLE, f"cannot take {target} away: {error}") from None
            if volume is not None:
                self._home.forget(volume.id)
                self._slices.released(volume.slice_id)
                logs.event(logger, logging.INFO, "volume unpublished", pod=volume.pod_uid)
        self._turns.pop(request.volume_id, None)
        return csi_pb2.NodeUnpublishVolumeResponse()

    def _is_published(self, request: csi_pb2.NodePublishVolumeRequest) -> bool:
        """A kubelet that restarted publishes everything again, while containers run on it."""
        volume = self._home.volume(request.volume_id)
        return (
            volume is not None
            and volume.target == request.target_path
            and self._home.mounts.exposed(Path(request.target_path))
        )

    async def _slice_in_force(self, pod_uid: str) -> values.Slice:
        obstacle = "it was not looked for"
        try:
            async with asyncio.timeout(self._wait_seconds):
                while True:
                    slice_ = self._slices.slice_of(pod_uid)
                    obstacle = self._obstacle(slice_)
                    if slice_ is not None and not obstacle:
                        return slice_
                    await self._changes.wait()
        except TimeoutError:
            raise CallError(
                grpc.StatusCode.UNAVAILABLE,
                f"pod {pod_uid} has no limits in force after {self._wait_seconds:g} s: {obstacle}",
            ) from None

    def _obstacle(self, slice_: values.Slice | None) -> str:
        if slice_ is None:
            return "the ledger of this node has no slice for it; was it bound by vgpu-extender?"
        return self._slices.obstacle(slice_.id) or ""

    def _publish(self, request: csi_pb2.NodePublishVolumeRequest, slice_: values.Slice, pod_uid: str) -> None:
        volume = Volume(id=request.volume_id, slice_id=slice_.id, pod_uid=pod_uid, target=request.target_path)
        try:
            self._home.offer_library(slice_.id)
            self._home.remember(volume)
            self._home.mounts.expose(self._home.slice_directory(slice_.id), Path(request.target_path))
        except OSError as error:
            raise CallError(
                grpc.StatusCode.UNAVAILABLE,
                f"cannot show slice {slice_.id} at {request.target_path}: {error}",
            ) from None
        self._slices.shown(slice_.id)
        context = request.volume_context
        pod = f"{context.get(POD_NAMESPACE, '')}/{context.get(POD_NAME, '')}"
        logs.event(logger, logging.INFO, "volume published", pod=pod, slice=slice_.id)


def _publishable(request: csi_pb2.NodePublishVolumeRequest) -> str:
    """The UID of the pod that a sound request is for; CallError otherwise."""
    _named(request.volume_id)
    _required(request.target_path, "target_path")
    if not request.HasField("volume_capability"):
        raise _invalid("expected a volume_capability, found none")
    if request.volume_capability.WhichOneof("access_type") == "block":
        raise _invalid("expected access by mount, found block; the volume is a directory")
    return _required(
        request.volume_context.get(POD_UID, ""), f"{POD_UID}; set podInfoOnMount in the CSIDriver"
    )


def _named(volume_id: str) -> None:
    try:
        checked(_required(volume_id, "volume_id"))
    except ValueError as error:
        raise _invalid(f"volume_id: {error}") from None


def _required(found: str, name: str) -> str:
    if not found:
        raise _invalid(f"expected {name}, found none")
    return found


def _invalid(message: str) -> CallError:
    return CallError(grpc.StatusCode.INVALID_ARGUMENT, message)
