"""The two sockets of a CSI plugin: one for the calls, one by which the kubelet finds it.

The second one says where the first lies, and is made last: the kubelet comes as soon as it sees it.
"""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import Message

from vgpu_agent.csi import csi_pb2, registration_pb2
from vgpu_agent.csi.service import CallError, Service
from vgpu_kube import logs

Q = TypeVar("Q", bound=Message)
A = TypeVar("A", bound=Message)

Handlers: TypeAlias = "dict[str, grpc.RpcMethodHandler[Any, Any]]"  # generic for type checkers only

SOCKET_PATH_BYTES = 107
"""What sockaddr_un holds beside the final NUL (unix(7))."""

GRACE_SECONDS = 2.0
VERSIONS = ("1.0.0",)

logger = logging.getLogger(__name__)


@asynccontextmanager
async def serving(service: Service, *, driver: str, socket: Path, registration: Path) -> AsyncIterator[None]:
    """Serves the kubelet inside the ``async with``. Raises ValueError for a path too long for a socket."""
    plugin = grpc.aio.server()
    plugin.add_generic_rpc_handlers(_csi(service))
    registrar = grpc.aio.server()
    registrar.add_generic_rpc_handlers(_registrar(driver, socket))
    try:
        await _listen(plugin, socket)
        await _listen(registrar, registration)
        logs.event(logger, logging.INFO, "serving", driver=driver, socket=socket)
        yield
    finally:
        _remove(registration)
        await asyncio.gather(registrar.stop(0), plugin.stop(GRACE_SECONDS))


async def _listen(server: grpc.aio.Server, socket: Path) -> None:
    if len(os.fsencode(socket)) > SOCKET_PATH_BYTES:
        raise ValueError(f"expected a socket path of {SOCKET_PATH_BYTES} bytes at most, found {socket}")
    _remove(socket)  # a killed predecessor's
    server.add_insecure_port(f"unix://{socket}")
    await server.start()
    os.chmod(socket, 0o600)


def _remove(socket: Path) -> None:
    socket.parent.mkdir(parents=True, exist_ok=True)
    socket.unlink(missing_ok=True)


def _csi(service: Service) -> tuple[grpc.GenericRpcHandler, ...]:
    identity: Handlers = {
        "GetPluginInfo": _unary(service.get_plugin_info, csi_pb2.GetPluginInfoRequest),
        "GetPluginCapabilities": _unary(
            service.get_plugin_capabilities, csi_pb2.GetPluginCapabilitiesRequest
        ),
        "Probe": _unary(service.probe, csi_pb2.ProbeRequest),
    }
    node: Handlers = {
        "NodePublishVolume": _unary(service.node_publish_volume, csi_pb2.NodePublishVolumeRequest),
        "NodeUnpublishVolume": _unary(service.node_unpublish_volume, csi_pb2.NodeUnpublishVolumeRequest),
        "NodeGetCapabilities": _unary(service.node_get_capabilities, csi_pb2.NodeGetCapabilitiesRequest),
        "NodeGetInfo": _unary(service.node_get_info, csi_pb2.NodeGetInfoRequest),
    }
    return (
        grpc.method_handlers_generic_handler("csi.v1.Identity", identity),
        grpc.method_handlers_generic_handler("csi.v1.Node", node),
    )


def _registrar(driver: str, socket: Path) -> tuple[grpc.GenericRpcHandler, ...]:
    async def get_info(_: registration_pb2.InfoRequest) -> registration_pb2.PluginInfo:
        return registration_pb2.PluginInfo(
            type="CSIPlugin", name=driver, endpoint=str(socket), supported_versions=VERSIONS
        )

    async def notified(
        status: registration_pb2.RegistrationStatus,
    ) -> registration_pb2.RegistrationStatusResponse:
        if status.plugin_registered:
            logs.event(logger, logging.INFO, "registered", driver=driver)
        else:
            logs.event(logger, logging.ERROR, "not registered", driver=driver, reason=status.error)
        return registration_pb2.RegistrationStatusResponse()

    handlers: Handlers = {
        "GetInfo": _unary(get_info, registration_pb2.InfoRequest),
        "NotifyRegistrationStatus": _unary(notified, registration_pb2.RegistrationStatus),
    }
    return (grpc.method_handlers_generic_handler("pluginregistration.Registration", handlers),)


def _unary(method: Callable[[Q], Awaitable[A]], request: type[Q]) -> "grpc.RpcMethodHandler[Q, A]":
    async def answer(asked: Q, context: "grpc.aio.ServicerContext[Q, A]") -> A:
        try:
            return await method(asked)
        except CallError as error:
            await context.abort(error.code, error.message)
        except Exception:  # a call must end in a status that the kubelet repeats, whatever went wrong
            logger.exception("call failed")
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the agent failed; its log says how")
        raise AssertionError("unreachable: abort raises")

    return grpc.unary_unary_rpc_method_handler(
        answer, request_deserializer=request.FromString, response_serializer=_serialized
    )


def _serialized(answer: Message) -> bytes:
    return answer.SerializeToString()
