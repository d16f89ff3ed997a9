"""The bed's client of the API server, against a server of a few lines."""

import contextlib
import ssl
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from aiohttp import test_utils, web

from vgpu_e2e import errors, rest


@contextlib.asynccontextmanager
async def serving(handler: Any) -> AsyncIterator[rest.API]:  # an aiohttp handler
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", handler)
    async with test_utils.TestServer(application) as server:
        url = str(server.make_url("")).rstrip("/")
        async with rest.API(url, tls=ssl.create_default_context()) as api:
            yield api


@pytest.mark.parametrize(
    ("code", "kind"), [(404, rest.NotFoundError), (409, rest.ConflictError), (422, rest.StatusError)]
)
async def test_a_refusal_carries_the_servers_sentence(code: int, kind: type[rest.StatusError]) -> None:
    async def refuse(_: web.Request) -> web.Response:
        return web.json_response({"kind": "Status", "message": "no, because"}, status=code)

    async with serving(refuse) as api:
        with pytest.raises(kind, match="no, because") as caught:
            await api.get("/api/v1/pods")

    assert caught.value.code == code


async def test_a_list_is_read_page_by_page() -> None:
    async def pages(request: web.Request) -> web.Response:
        last = "continue" in request.query
        meta = {"resourceVersion": "7"} | ({} if last else {"continue": "more"})
        return web.json_response({"metadata": meta, "items": [{"n": 2 if last else 1}]})

    async with serving(pages) as api:
        assert await api.list("/api/v1/pods") == ([{"n": 1}, {"n": 2}], "7")


async def test_a_watch_that_ends_goes_on_where_it_ended() -> None:
    versions: list[str] = []

    async def watch(request: web.Request) -> web.StreamResponse:
        if "watch" not in request.query:
            return web.json_response({"metadata": {"resourceVersion": "1"}, "items": [named("a", "1")]})
        versions.append(request.query["resourceVersion"])
        return web.Response(body=event("MODIFIED", named("a", str(int(versions[-1]) + 1))))

    async with serving(watch) as api:
        seen = await first(api.watch("/api/v1/pods"), 3)

    assert [(kind, item["metadata"]["resourceVersion"]) for kind, item in seen] == [
        ("ADDED", "1"),
        ("MODIFIED", "2"),
        ("MODIFIED", "3"),
    ]
    assert versions[:2] == ["1", "2"]


async def test_a_watch_that_is_too_old_lists_again() -> None:
    lists = iter(["1", "9"])

    async def watch(request: web.Request) -> web.StreamResponse:
        if "watch" not in request.query:
            version = next(lists)
            meta = {"resourceVersion": version}
            return web.json_response({"metadata": meta, "items": [named("a", version)]})
        return web.Response(body=event("ERROR", {"kind": "Status", "code": 410}))

    async with serving(watch) as api:
        seen = await first(api.watch("/api/v1/pods"), 2)

    assert [item["metadata"]["resourceVersion"] for _, item in seen] == ["1", "9"]


async def test_objects_find_their_path_by_discovery() -> None:
    async def discover(_: web.Request) -> web.Response:
        resources = [
            {"name": "deployments", "kind": "Deployment", "namespaced": True},
            {"name": "deployments/scale", "kind": "Scale", "namespaced": True},
        ]
        return web.json_response({"resources": resources})

    document = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "namespace": "n"}}
    async with serving(discover) as api:
        assert await api.path_of(document) == "/apis/apps/v1/namespaces/n/deployments/d"
        with pytest.raises(errors.BedError, match="apps/v1 Scale"):
            await api.path_of(document | {"kind": "Scale"})


def named(name: str, version: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "resourceVersion": version}}


def event(kind: str, item: dict[str, Any]) -> bytes:
    return orjson.dumps({"type": kind, "object": item}) + b"\n"


async def first(events: AsyncIterator[tuple[str, rest.Object]], count: int) -> list[tuple[str, rest.Object]]:
    seen: list[tuple[str, rest.Object]] = []
    async for each in events:
        seen.append(each)
        if len(seen) == count:
            break
    return seen
