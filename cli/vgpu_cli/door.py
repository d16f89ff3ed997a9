"""The commands' door to the API server: a few requests over the standard library, ready in milliseconds.

Answers and errors are those of ``vgpu_kube.client``, which serves long-lived processes and takes longer to
import than a command may last (``docs/decisions/0010-the-commands-own-door.md``).
"""

# ruff: noqa: ASYNC109 -- the timeout is an option of the request, the server is told of it

import asyncio
import gzip
import http.client
import os
import ssl
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlencode, urlsplit

import orjson

from vgpu_cli import ending, kubeconfig, plugin
from vgpu_cli.cluster import Session
from vgpu_cli.faults import NoCluster
from vgpu_kube import errors
from vgpu_kube.objects import Object
from vgpu_kube.protocol import DEFAULT_TIMEOUT, ListResult, Ops
from vgpu_kube.resources import Resource

PAGE = 500
"""Objects per page of a list."""

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"


@contextmanager
def connect(path: str | None, context: str | None) -> Iterator[Session]:
    """A session with the cluster of a kubeconfig. Raises NoCluster where there is no way to one."""
    login = plugin.resolved(kubeconfig.load(path, context=context, environ=os.environ))
    door = Door(login)
    try:
        yield Session(door, login.namespace)
    finally:
        door.close()


class Door:
    """:class:`~vgpu_cli.cluster.Cluster` over HTTP; each thread that asks has a connection of its own."""

    def __init__(self, login: kubeconfig.Login) -> None:
        self._login = login
        self._address = urlsplit(login.server)
        self._tls = _tls(login) if self._address.scheme == "https" else None
        self._mine = threading.local()
        self._open: list[http.client.HTTPConnection] = []

    def close(self) -> None:
        """Closes every connection."""
        for each in self._open:
            each.close()

    async def get(
        self,
        resource: Resource,
        name: str,
        namespace: str | None = None,
        *,
        subresource: str | None = None,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> Object:
        """One object."""
        return await self._object("GET", resource.path(namespace, name, subresource), timeout=timeout)

    async def list(
        self,
        resource: Resource,
        namespace: str | None = None,
        labels: str | None = None,
        fields: str | None = None,
        resource_version: str | None = None,
        *,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> ListResult:
        """Every selected object, page by page."""
        asked = {"labelSelector": labels, "fieldSelector": fields, "resourceVersion": resource_version}
        query = {name: value for name, value in asked.items() if value is not None} | {"limit": str(PAGE)}
        items: list[Object] = []
        while True:
            page = await self._object("GET", resource.path(namespace), query=query, timeout=timeout)
            items += page.get("items") or ()
            if not (token := page["metadata"].get("continue")):
                return ListResult(items, page["metadata"]["resourceVersion"])
            query = {**query, "continue": token}
            query.pop("resourceVersion", None)

    async def create(
        self,
        resource: Resource,
        body: Object,
        namespace: str | None = None,
        *,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> Object:
        """The object as created, or the answer to what is asked by creating one, such as an access review."""
        there = namespace or body.get("metadata", {}).get("namespace")
        return await self._object("POST", resource.path(there), body=_typed(resource, body), timeout=timeout)

    async def patch_json(
        self,
        resource: Resource,
        name: str,
        ops: Ops,
        namespace: str | None = None,
        subresource: str | None = None,
        *,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> Object:
        """The object after a JSON patch; a failed ``test`` raises Conflict."""
        path = resource.path(namespace, name, subresource)
        try:
            return await self._object("PATCH", path, body=[*ops], content_type=JSON_PATCH, timeout=timeout)
        except errors.Invalid as error:
            raise errors.of_json_patch(error) from None

    async def patch_merge(
        self,
        resource: Resource,
        name: str,
        patch: Mapping[str, Any],
        namespace: str | None = None,
        subresource: str | None = None,
        *,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> Object:
        """The object after a merge patch."""
        path = resource.path(namespace, name, subresource)
        return await self._object("PATCH", path, body=patch, content_type=MERGE_PATCH, timeout=timeout)

    async def rehearse(self, resource: Resource, body: Object, namespace: str | None = None) -> Object:
        """What a creation would store; nothing is stored."""
        return await self._object(
            "POST", resource.path(namespace), query={"dryRun": "All"}, body=_typed(resource, body)
        )

    async def rehearse_patch(
        self, resource: Resource, name: str, patch: Mapping[str, Any], namespace: str | None = None
    ) -> Object:
        """What a merge patch would store; nothing is stored."""
        path = resource.path(namespace, name)
        return await self._object(
            "PATCH", path, query={"dryRun": "All"}, body=patch, content_type=MERGE_PATCH
        )

    async def text(self, path: str) -> str:
        """What stands at a path that is no object."""
        content = await asyncio.to_thread(self._send, "GET", path, None, {}, DEFAULT_TIMEOUT)
        return content.decode(errors="replace")

    async def _object(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: object = None,
        content_type: str = "application/json",
        timeout: float = DEFAULT_TIMEOUT,
    ) -> Object:
        data = None if body is None else orjson.dumps(body)
        headers = {} if body is None else {"Content-Type": content_type}
        asked = f"{path}?{urlencode(query)}" if query else path
        content = await asyncio.to_thread(self._send, method, asked, data, headers, timeout)
        try:
            answer: Object = orjson.loads(content)
        except orjson.JSONDecodeError:
            raise errors.Unavailable(
                errors.UNREACHABLE, "NotJSON", f"{path}: no JSON in the answer"
            ) from None
        return answer

    def _send(
        self, method: str, path: str, data: bytes | None, headers: Mapping[str, str], timeout: float
    ) -> bytes:
        try:
            connection = self._connection(timeout)
            sent = {"Accept": "application/json, */*", "Accept-Encoding": "gzip", **self._proof(), **headers}
            connection.request(method, self._address.path + path, body=data, headers=sent)
            response = connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException) as error:
            self._forget()
            said = str(error) or type(error).__name__
            raise errors.Unavailable(
                errors.UNREACHABLE, type(error).__name__, f"{self._login.server}: {said}"
            ) from error
        if response.headers.get("Content-Encoding") == "gzip":
            content = gzip.decompress(content)
        if response.status >= 400:
            raise errors.from_status(response.status, _refusal(content))
        return content

    def _proof(self) -> Mapping[str, str]:
        if self._login.token:
            return {"Authorization": f"Bearer {self._login.token}"}
        return self._login.headers

    def _connection(self, timeout: float) -> http.client.HTTPConnection:
        """The connection of this thread; a new one the first time and after an error."""
        found: http.client.HTTPConnection | None = getattr(self._mine, "connection", None)
        if found is None:
            found = self._mine.connection = _made(self._login, self._address.netloc, self._tls, timeout)
            self._open.append(found)
        return found

    def _forget(self) -> None:
        if (connection := getattr(self._mine, "connection", None)) is not None:
            connection.close()
            self._mine.connection = None


class _Named(http.client.HTTPSConnection):
    """A connection that expects another name in the server's certificate than the host it connects to."""

    def __init__(self, host: str, *, context: ssl.SSLContext, timeout: float, name: str) -> None:
        super().__init__(host, context=context, timeout=timeout)
        self._tls, self._name = context, name

    def connect(self) -> None:
        """Connects, and asks for the certificate of that name."""
        http.client.HTTPConnection.connect(self)
        self.sock = self._tls.wrap_socket(self.sock, server_hostname=self._name)


def _made(
    login: kubeconfig.Login, host: str, tls: ssl.SSLContext | None, timeout: float
) -> http.client.HTTPConnection:
    if tls is None:
        return http.client.HTTPConnection(host, timeout=timeout)
    if login.proxy:
        proxy = urlsplit(login.proxy)
        if proxy.scheme not in {"http", ""}:
            raise NoCluster(f"expected an http proxy in the kubeconfig, found {login.proxy}; use one")
        through = http.client.HTTPSConnection(proxy.netloc, context=tls, timeout=timeout)
        through.set_tunnel(host)
        return through
    if login.server_name:
        return _Named(host, context=tls, timeout=timeout, name=login.server_name)
    return http.client.HTTPSConnection(host, context=tls, timeout=timeout)


def _tls(login: kubeconfig.Login) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cadata=login.authority.decode() if login.authority else None)
        if not login.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if login.certificate and login.key:
            _show(context, login.certificate + b"\n" + login.key)
    except (ssl.SSLError, ValueError) as error:
        raise NoCluster(f"expected certificates in the kubeconfig, found: {error}; renew it") from error
    return context


def _show(context: ssl.SSLContext, pair: bytes) -> None:
    """Loads certificate and key; the library takes them from a file only, which nobody else may read."""
    with ending.uninterrupted(), _file_of(pair) as path:
        context.load_cert_chain(path)


@contextmanager
def _file_of(content: bytes) -> Iterator[str]:
    descriptor, path = tempfile.mkstemp(prefix="kubectl-vgpu-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        yield path
    finally:
        os.unlink(path)


def _typed(resource: Resource, body: Object) -> Object:
    return {"apiVersion": resource.api_version, "kind": resource.kind, **body}


def _refusal(content: bytes) -> Mapping[str, Any]:
    try:
        answer = orjson.loads(content)
    except orjson.JSONDecodeError:
        answer = None
    if isinstance(answer, dict):
        return answer
    return {"message": content[:500].decode(errors="replace").strip()}
