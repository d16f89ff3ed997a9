"""What add-ons give a cluster's pods: the API server under the address and the name of its Service.

Here this machine has the address while the cluster runs; no kube-proxy and no CoreDNS are needed.
"""

import asyncio
import contextlib
import subprocess
from collections.abc import AsyncIterator
from typing import cast

from vgpu_e2e import errors

ADDRESS = "10.0.0.1"  # the first of the control plane's service-cluster-ip-range
NAME = "kubernetes.default.svc"

ANSWER, NO_SUCH_NAME = 0x8180, 0x8183  # RFC 1035, 4.1.1: a response, recursion desired and available
TYPE_A = 1


@contextlib.asynccontextmanager
async def api_server_for_pods(url: str) -> AsyncIterator[None]:
    """Forward ADDRESS:443 to the API server, and answer DNS at ADDRESS, inside the `async with`."""
    port = int(url.rsplit(":", 1)[1])
    _take(ADDRESS)
    try:
        forwarder = await asyncio.start_server(lambda *ends: _forward(*ends, port=port), ADDRESS, 443)
        loop = asyncio.get_running_loop()
        resolver, _ = await loop.create_datagram_endpoint(_Resolver, local_addr=(ADDRESS, 53))
        yield
        resolver.close()
        forwarder.close()
    finally:
        await asyncio.to_thread(_ip, "address", "delete", f"{ADDRESS}/32", "dev", "lo")


class _Resolver(asyncio.DatagramProtocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str | int, ...]) -> None:
        self._transport.sendto(resolved(data), addr)


def resolved(query: bytes) -> bytes:
    """Return the answer to a DNS query of one question: one name is known, and it has one IPv4 address."""
    labels, end = [], 12
    while length := query[end]:
        labels.append(query[end + 1 : end + 1 + length].decode(errors="replace"))
        end += length + 1
    question = query[12 : end + 5]
    known = ".".join(labels).lower() in (NAME, f"{NAME}.cluster.local")
    address = bytes(map(int, ADDRESS.split(".")))
    record = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x1e\x00\x04" + address
    records = record if known and question[-4:-2] == TYPE_A.to_bytes(2) else b""
    flags = ANSWER if known else NO_SUCH_NAME
    counts = b"\x00\x01" + (b"\x00\x01" if records else b"\x00\x00") + b"\x00\x00\x00\x00"
    return query[:2] + flags.to_bytes(2) + counts + question + records


async def _forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, port: int) -> None:
    try:
        beyond, onward = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        writer.close()
        return
    await asyncio.gather(_pour(reader, onward), _pour(beyond, writer))


async def _pour(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read(2**16):
            sink.write(data)
            await sink.drain()
    sink.close()


def _take(address: str) -> None:
    """Give this machine an address more; not one that a neighbour on its network may have."""
    route = _ip("route", "get", address)
    if route and " via " not in route and not route.startswith("local"):
        raise errors.BedError(f"expected {address} to be nobody's here, found: {route.strip()}")
    _ip("address", "replace", f"{address}/32", "dev", "lo")


def _ip(*arguments: str) -> str:
    return subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False).stdout
