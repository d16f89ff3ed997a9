"""The HTTP client: raw requests to an API server, and how to connect.

Loading of credentials stands in ``vgpu_kube.credentials``, caching in ``vgpu_kube.informer``.
"""

# ruff: noqa: ASYNC109 -- the timeout is an option of the request, the server is told of it

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode

import aiohttp
import orjson
import yarl

from vgpu_kube import errors
from vgpu_kube.credentials import Credentials, load
from vgpu_kube.objects import Object
from vgpu_kube.protocol import DEFAULT_TIMEOUT, WATCH_SECONDS, Kube, ListResult, Ops, WatchEvent
from vgpu_kube.resources import PODS, Resource

__all__ = ["DEFAULT_TIMEOUT", "WATCH_SECONDS", "Client", "Kube", "ListResult", "WatchEvent", "connect"]

PAGE = 500
"""Objects per page of a list; also what bounds how long decoding one answer blocks the loop."""

LIST_ATTEMPTS = 3
"""How often a list whose continue token expired is begun anew."""

SILENCE_SECONDS = 90.0
"""A watch without a byte for this long is dead: bookmarks come about once a minute."""

JSON = "application/json"
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"


class Client:
    """:class:`Kube` over HTTP; made by :func:`connect`."""

    def __init__(self, session: aiohttp.ClientSession, credentials: Credentials) -> None:
        self._session = session
        self._credentials = credentials

    async def get(
        self,
        resource: Resource,
        name: str,
        namespace: str | None = None,
        *,
        subresource: str | None = None,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> Object:
        """One object, or the subresource of it."""
        return await self._send("GET", resource.path(namespace, name, subresource), timeout=timeout)

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
        """Every selected object, of one consistent version; begun anew where that went meanwhile."""
        for attempt in range(1, LIST_ATTEMPTS + 1):
            try:
                pages = self.pages(resource, namespace, labels, fields, resource_version, timeout=timeout)
                return _joined([page async for page in pages])
            except errors.Gone:
                if attempt == LIST_ATTEMPTS:
                    raise
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def pages(
        self,
        resource: Resource,
        namespace: str | None = None,
        labels: str | None = None,
        fields: str | None = None,
        resource_version: str | None = None,
        *,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> AsyncGenerator[ListResult, None]:
        """The same, a page at a time."""
        query = _query(
            labelSelector=labels, fieldSelector=fields, resourceVersion=resource_version, limit=PAGE
        )
        while True:
            page = await self._send("GET", resource.path(namespace), query=query, timeout=timeout)
            yield ListResult(_typed(page), page["metadata"]["resourceVersion"])
            if not (token := page["metadata"].get("continue")):
                return
            query.pop("resourceVersion", None)  # the token carries the version of the first page
            query["continue"] = token

    async def create(
        self,
        resource: Resource,
        body: Object,
        namespace: str | None = None,
        *,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> Object:
        """The object as created; without ``namespace`` that of its metadata counts."""
        if namespace is None and resource.namespaced:
            namespace = body["metadata"].get("namespace")
        whole = {"apiVersion": resource.api_version, "kind": resource.kind, **body}
        return await self._send("POST", resource.path(namespace), body=whole, timeout=timeout)

    async def create_subresource(
        self,
        resource: Resource,
        name: str,
        subresource: str,
        body: Object,
        namespace: str | None = None,
        *,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> Object:
        """The answer to a POST below an object, such as an eviction."""
        return await self._send(
            "POST", resource.path(namespace, name, subresource), body=body, timeout=timeout
        )

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
            return await self._send("PATCH", path, body=[*ops], content_type=JSON_PATCH, timeout=timeout)
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
        return await self._send("PATCH", path, body=patch, content_type=MERGE_PATCH, timeout=timeout)

    async def apply(
        self,
        resource: Resource,
        name: str,
        body: Mapping[str, Any],
        field_manager: str,
        namespace: str | None = None,
        subresource: str | None = None,
        *,
        force: bool = True,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> Object:
        """The object after a server-side apply."""
        path = resource.path(namespace, name, subresource)
        query = _query(fieldManager=field_manager, force="true" if force else None)
        whole = identified(resource, name, body)
        return await self._send(
            "PATCH", path, query=query, body=whole, content_type=APPLY_PATCH, timeout=timeout
        )

    async def delete(
        self,
        resource: Resource,
        name: str,
        namespace: str | None = None,
        *,
        grace_seconds: int | None = None,
        uid: str | None = None,
        resource_version: str | None = None,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> None:
        """Returns when deletion has begun."""
        preconditions = _present(uid=uid, resourceVersion=resource_version)
        options = _present(gracePeriodSeconds=grace_seconds, preconditions=preconditions or None)
        body = {"apiVersion": "v1", "kind": "DeleteOptions", **options}
        await self._send("DELETE", resource.path(namespace, name), body=body, timeout=timeout)

    async def bind(
        self,
        namespace: str,
        pod_name: str,
        pod_uid: str,
        node: str,
        annotations: Mapping[str, str],
        *,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> None:
        """Binds this very pod to a node and puts annotations on it in the same write."""
        body = binding(namespace, pod_name, pod_uid, node, annotations)
        await self.create_subresource(PODS, pod_name, "binding", body, namespace, timeout=timeout)

    async def watch(
        self,
        resource: Resource,
        resource_version: str,
        namespace: str | None = None,
        labels: str | None = None,
        fields: str | None = None,
        *,
        timeout: float = WATCH_SECONDS,
    ) -> AsyncGenerator[WatchEvent, None]:
        """The changes after a version, bookmarks among them, until the server ends the watch."""
        query = _query(
            watch="true",
            allowWatchBookmarks="true",
            resourceVersion=resource_version,
            labelSelector=labels,
            fieldSelector=fields,
            timeoutSeconds=max(1, round(timeout)),
        )
        limits = aiohttp.ClientTimeout(
            total=timeout + SILENCE_SECONDS, sock_connect=DEFAULT_TIMEOUT, sock_read=SILENCE_SECONDS
        )
        try:
            async with await self._open("GET", resource.path(namespace), query, None, {}, limits) as response:
                while line := await response.content.readline():
                    yield _event(line)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise _unreachable(f"watch of {resource}", error) from error

    async def _send(
        self,
        method: str,
        path: str,
        *,
        timeout: float,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | Ops | None = None,
        content_type: str = JSON,
    ) -> Object:
        data = None if body is None else orjson.dumps(body)
        headers = {} if body is None else {"Content-Type": content_type}
        try:
            async with asyncio.timeout(timeout):
                response = await self._open(
                    method, path, query, data, headers, aiohttp.ClientTimeout(total=timeout)
                )
                async with response:
                    return _decoded(response.status, await response.read())
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _unreachable(f"{method} {path}", error) from error

    async def _open(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        data: bytes | None,
        headers: Mapping[str, str],
        limits: aiohttp.ClientTimeout,
    ) -> aiohttp.ClientResponse:
        """The response to a request, its body unread; a token that expired is read anew, once."""
        address = f"{self._credentials.server}{path}" + (f"?{urlencode(query)}" if query else "")
        url = yarl.URL(address, encoded=True)  # as it stands: yarl would unquote parts of selectors
        for renewed in (False, True):
            sent = {"Accept": JSON, **headers, **await self._credentials.headers()}
            response = await self._session.request(
                method, url, data=data, headers=sent, timeout=limits, **self._credentials.request_options
            )
            if response.status != 401 or renewed:
                break
            response.release()
            await self._credentials.renew()
        if response.status >= 400:
            async with response:
                raise _refusal(response.status, await response.read(), response.headers.get("Retry-After"))
        return response


@asynccontextmanager
async def connect(kubeconfig: str | None = None) -> AsyncIterator[Client]:
    """A client for the cluster of ``kubeconfig``.

    ``None`` means the cluster this process runs in, else the file of ``$KUBECONFIG`` (or the default one).
    Raises :class:`~vgpu_kube.credentials.NoClusterError` where none of them can be used.
    """
    credentials = await load(kubeconfig)
    async with credentials.session() as session:
        yield Client(session, credentials)


def binding(namespace: str, pod_name: str, pod_uid: str, node: str, annotations: Mapping[str, str]) -> Object:
    """The Binding that the API server copies to the pod together with its nodeName."""
    return {
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {
            "name": pod_name,
            "namespace": namespace,
            "uid": pod_uid,
            "annotations": dict(annotations),
        },
        "target": {"apiVersion": "v1", "kind": "Node", "name": node},
    }


def identified(resource: Resource, name: str, body: Mapping[str, Any]) -> Object:
    """The body of an apply with the identity that the API server insists on."""
    metadata = {**body.get("metadata", {}), "name": name}
    return {**body, "apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata}


def _present(**options: object) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _query(**options: object) -> dict[str, str]:
    return {name: str(value) for name, value in _present(**options).items()}


def _joined(pages: Sequence[ListResult]) -> ListResult:
    return ListResult([raw for page in pages for raw in page.items], pages[-1].resource_version)


def _typed(page: Object) -> list[Object]:
    """The items of a list with the kind that only the list itself carries."""
    items: list[Object] = page.get("items") or []
    kind, api_version = page["kind"].removesuffix("List"), page["apiVersion"]
    for item in items:
        item.setdefault("kind", kind)
        item.setdefault("apiVersion", api_version)
    return items


def _decoded(status: int, content: bytes) -> Object:
    try:
        answer = orjson.loads(content)
    except orjson.JSONDecodeError:
        raise errors.Unavailable(status, "NotJSON", f"expected JSON, found {content[:100]!r}") from None
    if not isinstance(answer, dict):
        raise errors.Unavailable(status, "NotAnObject", f"expected a JSON object, found {content[:100]!r}")
    return answer


def _refusal(status: int, content: bytes, retry_after: str | None) -> errors.KubeError:
    try:
        answer = orjson.loads(content)
    except orjson.JSONDecodeError:
        answer = None
    if not isinstance(answer, dict):
        answer = {"message": content[:500].decode(errors="replace").strip()}
    seconds = float(retry_after) if retry_after and retry_after.isdigit() else None
    return errors.from_status(status, answer, retry_after=seconds)


def _event(line: bytes) -> WatchEvent:
    event = orjson.loads(line)
    try:
        kind, raw = event["type"], event["object"]
    except (KeyError, TypeError):
        raise ValueError(f"expected an event with type and object, found {line[:100]!r}") from None
    if kind == "ERROR":
        raise errors.from_status(raw.get("code") or 500, raw)
    return WatchEvent(kind, raw)


def _unreachable(what: str, error: Exception) -> errors.Unavailable:
    detail = str(error) or "no answer in time"
    return errors.Unavailable(errors.UNREACHABLE, type(error).__name__, f"{what}: {detail}")
