"""A tiny client of the API server for the bed itself: raw objects in, raw objects out.

The bed judges the product, so it does not share the product's own client.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any, Self

import aiohttp
import orjson

from vgpu_e2e import errors

Object = dict[str, Any]

FIELD_MANAGER = "vgpu-e2e"
MERGE_PATCH = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"  # JSON is YAML
WATCH_SECONDS = 300
LIST_PAGE = 1000


class StatusError(errors.BedError):
    """The API server refused; `code` is the HTTP status, `status` its answer."""

    def __init__(self, method: str, path: str, code: int, status: Object) -> None:
        super().__init__(
            f"expected {method} {path} to succeed, found {code}: {status.get('message', status)}"
        )
        self.code = code
        self.status = status


class NotFoundError(StatusError):
    """There is no such object, or no such kind."""


class ConflictError(StatusError):
    """There is one already, or it has changed meanwhile."""


class API:
    """A connection to one API server under one identity."""

    def __init__(
        self, url: str, *, tls: ssl.SSLContext, token: str | None = None, connections: int = 64
    ) -> None:
        self.url = url
        self.tls = tls
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._connections = connections
        self._session: aiohttp.ClientSession | None = None
        self._resources: dict[tuple[str, str], tuple[str, bool]] = {}

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self.tls, limit=self._connections),
            headers=self._headers,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=10),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def request(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        content_type: str = "application/json",
        parameters: Mapping[str, str] | None = None,
    ) -> Object:
        """Return the answer's JSON; raise StatusError for anything but a 2xx."""
        data = None if body is None else orjson.dumps(body)
        headers = {"Content-Type": content_type} if data is not None else {}
        async with self._opened().request(
            method, self.url + path, data=data, headers=headers, params=parameters
        ) as response:
            answer = await response.read()
            if response.status >= 300:
                raise _refusal(method, path, response.status, answer)
            return _object(answer)

    async def text(self, path: str) -> str:
        """Return the body of a GET as text, as /readyz and /metrics answer."""
        async with self._opened().get(self.url + path) as response:
            body = await response.read()
            if response.status >= 300:
                raise _refusal("GET", path, response.status, body)
            return body.decode()

    async def get(self, path: str) -> Object:
        """Return one object."""
        return await self.request("GET", path)

    async def create(self, path: str, body: Object) -> Object:
        """Post an object to its collection and return what the server made of it."""
        return await self.request("POST", path, body)

    async def patch(self, path: str, body: object, *, content_type: str = MERGE_PATCH) -> Object:
        """Patch an object and return it as it is afterwards."""
        return await self.request("PATCH", path, body, content_type=content_type)

    async def delete(self, path: str, body: Object | None = None) -> None:
        """Delete an object; one that is gone already is fine."""
        with contextlib.suppress(NotFoundError):
            await self.request("DELETE", path, body)

    async def exists(self, path: str) -> bool:
        """Whether a GET finds something."""
        try:
            await self.get(path)
        except NotFoundError:
            return False
        return True

    async def list(
        self, path: str, *, parameters: Mapping[str, str] | None = None
    ) -> tuple[list[Object], str]:
        """Return all items of a collection and the resource version of the list."""
        items: list[Object] = []
        query = {**(parameters or {}), "limit": str(LIST_PAGE)}
        while True:
            page = await self.request("GET", path, parameters=query)
            items += page["items"]
            if not (rest := page["metadata"].get("continue")):
                return items, page["metadata"]["resourceVersion"]
            query["continue"] = rest

    async def apply(self, documents: Iterable[Object]) -> None:
        """Apply the objects server-side, one after the other, as the field manager of the bed."""
        for document in documents:
            path = await self.path_of(document)
            await self.request(
                "PATCH",
                path,
                document,
                content_type=APPLY_PATCH,
                parameters={"fieldManager": FIELD_MANAGER, "force": "true"},
            )

    async def path_of(self, document: Object) -> str:
        """Return the path of the object that has this apiVersion, kind, namespace and name."""
        version, kind = document["apiVersion"], document["kind"]
        resource, namespaced = await self._resource(version, kind)
        scope = f"/namespaces/{document['metadata'].get('namespace', 'default')}" if namespaced else ""
        return f"{_root(version)}{scope}/{resource}/{document['metadata']['name']}"

    async def watch(
        self, path: str, *, parameters: Mapping[str, str] | None = None
    ) -> AsyncIterator[tuple[str, Object]]:
        """Yield (ADDED, object) for all there is, then every change, for ever.

        After a gap everything is listed again as ADDED; a deletion inside the gap is not told.
        """
        while True:
            items, version = await self.list(path, parameters=parameters)
            for item in items:
                yield "ADDED", item
            async for kind, item in self._follow(path, version, parameters or {}):
                yield kind, item

    async def _follow(
        self, path: str, version: str, parameters: Mapping[str, str]
    ) -> AsyncIterator[tuple[str, Object]]:
        while True:
            query = {
                **parameters,
                "watch": "true",
                "allowWatchBookmarks": "true",
                "resourceVersion": version,
                "timeoutSeconds": str(WATCH_SECONDS),
            }
            try:
                async with self._opened().get(self.url + path, params=query, read_bufsize=2**24) as response:
                    if response.status != 200:
                        return
                    async for line in response.content:
                        event = orjson.loads(line)
                        if event["type"] == "ERROR":
                            return
                        version = event["object"]["metadata"]["resourceVersion"]
                        if event["type"] != "BOOKMARK":
                            yield event["type"], event["object"]
            except aiohttp.ClientError:
                await asyncio.sleep(0.2)  # the API server is away; ask again

    async def _resource(self, version: str, kind: str) -> tuple[str, bool]:
        if (version, kind) not in self._resources:
            discovered = await self.get(_root(version))
            for each in discovered["resources"]:
                if "/" not in each["name"]:
                    self._resources[version, each["kind"]] = each["name"], each["namespaced"]
        try:
            return self._resources[version, kind]
        except KeyError:
            raise errors.BedError(
                f"expected a kind that the API server knows, found {version} {kind}"
            ) from None

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise errors.BedError("expected an open connection; use `async with API(...)`")
        return self._session


def _root(version: str) -> str:
    return f"/apis/{version}" if "/" in version else f"/api/{version}"


def _object(answer: bytes) -> Object:
    value: Object = orjson.loads(answer)
    return value


def _refusal(method: str, path: str, code: int, answer: bytes) -> StatusError:
    try:
        status = _object(answer)
    except orjson.JSONDecodeError:
        status = {"message": answer.decode(errors="replace")[:2000]}
    return {404: NotFoundError, 409: ConflictError}.get(code, StatusError)(method, path, code, status)
