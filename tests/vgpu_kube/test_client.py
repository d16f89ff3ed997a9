"""What the client makes of answers that a well-behaved API server gives rarely."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Protocol, TypeAlias

import orjson
import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer

from vgpu_kube import client, credentials, errors
from vgpu_kube.client import Client
from vgpu_kube.resources import CONFIGMAPS, PODS, VGPU_NODES

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Serve(Protocol):
    """A client of a server that answers every request with one handler."""

    def __call__(self, handler: Handler, **user: str) -> AbstractAsyncContextManager[Client]: ...


def kubeconfig(path: Path, server: str, *, authority: str = "", **user: str) -> str:
    cluster = {"server": server} | ({"certificate-authority": authority} if authority else {})
    content = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": user}],
    }
    path.write_text(yaml.safe_dump(content))
    return str(path)


@pytest.fixture
def serve(tmp_path: Path) -> Serve:
    @asynccontextmanager
    async def serving(handler: Handler, **user: str) -> AsyncIterator[Client]:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", handler)
        async with (
            TestServer(app) as server,
            client.connect(kubeconfig(tmp_path / "config", str(server.make_url("/")), **user)) as kube,
        ):
            yield kube

    return serving


def status(code: int, reason: str, message: str = "because") -> web.Response:
    return web.json_response(
        {"kind": "Status", "code": code, "reason": reason, "message": message}, status=code
    )


@pytest.mark.parametrize(
    ("code", "reason", "expected"),
    [
        (401, "Unauthorized", errors.Forbidden),
        (403, "Forbidden", errors.Forbidden),
        (404, "NotFound", errors.NotFound),
        (409, "AlreadyExists", errors.AlreadyExists),
        (409, "Conflict", errors.Conflict),
        (410, "Expired", errors.Gone),
        (422, "Invalid", errors.Invalid),
        (429, "TooManyRequests", errors.Unavailable),
        (500, "InternalError", errors.Unavailable),
        (503, "ServiceUnavailable", errors.Unavailable),
        (400, "BadRequest", errors.KubeError),
    ],
)
async def test_each_refusal_has_its_exception(
    serve: Serve, code: int, reason: str, expected: type[errors.KubeError]
) -> None:
    async def refuse(request: web.Request) -> web.Response:
        return status(code, reason)

    async with serve(refuse) as kube:
        with pytest.raises(expected) as caught:
            await kube.get(PODS, "p", "default")

    assert type(caught.value) is expected
    assert (caught.value.status, caught.value.reason, caught.value.message) == (code, reason, "because")


async def test_a_failed_test_of_a_json_patch_is_a_conflict_and_other_invalidity_is_not(serve: Serve) -> None:
    messages = iter(
        [errors.PATCH_NOT_APPLICABLE, "testing value /spec/revision failed", "spec.x: must be positive"]
    )

    async def refuse(request: web.Request) -> web.Response:
        return status(422, "Invalid", next(messages))

    async with serve(refuse) as kube:
        for expected in (errors.Conflict, errors.Conflict, errors.Invalid):
            with pytest.raises(expected):
                await kube.patch_json(VGPU_NODES, "n", [])


async def test_the_server_says_when_to_come_back(serve: Serve) -> None:
    async def refuse(request: web.Request) -> web.Response:
        answer = status(429, "TooManyRequests")
        answer.headers["Retry-After"] = "3"
        return answer

    async with serve(refuse) as kube:
        with pytest.raises(errors.Unavailable) as caught:
            await kube.get(PODS, "p", "default")

    assert caught.value.retry_after == 3.0


@pytest.mark.parametrize("content", [b"", b"<html>", b"[1, 2]", b"null", b"\xff\xfe"])
async def test_an_answer_that_is_no_object_is_unavailable_and_no_traceback(
    serve: Serve, content: bytes
) -> None:
    codes = iter([200, 502])

    async def babble(request: web.Request) -> web.Response:
        return web.Response(body=content, status=next(codes))

    async with serve(babble) as kube:
        for _ in range(2):
            with pytest.raises(errors.Unavailable):
                await kube.get(PODS, "p", "default")


async def test_a_silent_server_is_unavailable_in_time(serve: Serve) -> None:
    async def sit(request: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError("nobody sets that event")

    async with serve(sit) as kube:
        with pytest.raises(errors.Unavailable, match="GET /api/v1/namespaces/default/pods/p"):
            await kube.get(PODS, "p", "default", timeout=0.05)


async def test_nobody_at_the_address_is_unavailable(tmp_path: Path) -> None:
    async with client.connect(kubeconfig(tmp_path / "config", "http://127.0.0.1:1")) as kube:
        with pytest.raises(errors.Unavailable, match=r"127\.0\.0\.1"):
            await kube.get(PODS, "p", "default")


def page(request: web.Request, *names: str, token: str | None = None) -> web.Response:
    items = [{"metadata": {"name": name, "resourceVersion": "5"}} for name in names]
    metadata = {"resourceVersion": "7", **({"continue": token} if token else {})}
    return web.json_response({"kind": "PodList", "apiVersion": "v1", "metadata": metadata, "items": items})


async def test_a_long_list_is_read_page_by_page(serve: Serve) -> None:
    asked: list[dict[str, str]] = []

    async def pages(request: web.Request) -> web.Response:
        asked.append(dict(request.query))
        return page(request, "b") if "continue" in request.query else page(request, "a", token="t")

    async with serve(pages) as kube:
        listed = await kube.list(PODS, labels="team in (red, blue),vgpu.dev/claim=x", resource_version="0")

    assert [(raw["kind"], raw["apiVersion"], raw["metadata"]["name"]) for raw in listed.items] == [
        ("Pod", "v1", "a"),
        ("Pod", "v1", "b"),
    ]
    assert listed.resource_version == "7"
    selector = {"labelSelector": "team in (red, blue),vgpu.dev/claim=x", "limit": str(client.PAGE)}
    assert asked == [{**selector, "resourceVersion": "0"}, {**selector, "continue": "t"}]


async def test_a_list_whose_token_expired_is_begun_anew_without_doubles(serve: Serve) -> None:
    expirations = iter([True])

    async def pages(request: web.Request) -> web.Response:
        if "continue" not in request.query:
            return page(request, "a", token="t")
        return status(410, "Expired") if next(expirations, False) else page(request, "b")

    async with serve(pages) as kube:
        listed = await kube.list(PODS)

    assert [raw["metadata"]["name"] for raw in listed.items] == ["a", "b"]


async def test_a_list_whose_token_expires_always_is_gone(serve: Serve) -> None:
    async def pages(request: web.Request) -> web.Response:
        return status(410, "Expired") if "continue" in request.query else page(request, "a", token="t")

    async with serve(pages) as kube:
        with pytest.raises(errors.Gone):
            await kube.list(PODS)


def streaming(*lines: bytes) -> Handler:
    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for line in lines:
            await response.write(line)
        return response

    return stream


async def test_a_watch_ends_when_the_server_ends_it(serve: Serve) -> None:
    line = orjson.dumps({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "9"}}}) + b"\n"

    async with serve(streaming(line[:10], line[10:], line)) as kube:
        events = [event async for event in kube.watch(PODS, "7")]

    assert [event.type for event in events] == ["BOOKMARK", "BOOKMARK"]


async def test_an_expired_version_within_a_watch_is_gone(serve: Serve) -> None:
    body = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version: 1 (5)"}

    async with serve(streaming(orjson.dumps({"type": "ERROR", "object": body}) + b"\n")) as kube:
        with pytest.raises(errors.Gone, match="too old"):
            [event async for event in kube.watch(PODS, "1")]


@pytest.mark.parametrize("line", [b'{"type": "ADDED", "obj', b"garbage\n", b"[]\n", b"{}\n"])
async def test_garbage_in_a_watch_is_unavailable(serve: Serve, line: bytes) -> None:
    async with serve(streaming(line)) as kube:
        with pytest.raises(errors.Unavailable):
            [event async for event in kube.watch(PODS, "1")]


async def test_an_event_of_two_megabytes_is_read(serve: Serve) -> None:
    raw = {"metadata": {"resourceVersion": "9"}, "data": {"a": "x" * 2_000_000}}

    async with serve(streaming(orjson.dumps({"type": "ADDED", "object": raw}) + b"\n")) as kube:
        [event] = [event async for event in kube.watch(CONFIGMAPS, "1")]

    assert len(event.object["data"]["a"]) == 2_000_000


async def test_a_token_that_expired_is_read_again_from_its_file(serve: Serve, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("old")
    asked: list[str] = []

    async def check(request: web.Request) -> web.Response:
        asked.append(request.headers["Authorization"])
        if asked[-1] == "Bearer old":
            token.write_text("new")  # the kubelet rotated it meanwhile
            return status(401, "Unauthorized")
        return web.json_response({"metadata": {"name": "p"}})

    async with serve(check, tokenFile=str(token)) as kube:
        await kube.get(PODS, "p", "default")
        await kube.get(PODS, "p", "default")

    assert asked == ["Bearer old", "Bearer new", "Bearer new"]


async def test_a_token_is_sent_without_the_line_end_of_its_file(serve: Serve, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("secret\n")

    async def answer(request: web.Request) -> web.Response:
        return web.json_response({"found": request.headers["Authorization"]})

    async with serve(answer, tokenFile=str(token)) as kube:
        answered = await kube.get(PODS, "p", "default")

    assert answered == {"found": "Bearer secret"}


async def test_a_delete_says_what_it_expects(serve: Serve) -> None:
    bodies: list[dict[str, object]] = []

    async def accept(request: web.Request) -> web.Response:
        bodies.append(orjson.loads(await request.read()))
        return web.json_response({"kind": "Status"})

    async with serve(accept) as kube:
        await kube.delete(PODS, "p", "default", grace_seconds=0, uid="u", resource_version="3")
        await kube.delete(PODS, "p", "default")

    options = {"apiVersion": "v1", "kind": "DeleteOptions"}
    preconditions = {"uid": "u", "resourceVersion": "3"}
    assert bodies == [{**options, "gracePeriodSeconds": 0, "preconditions": preconditions}, options]


@pytest.mark.parametrize("content", ["", "no: kubeconfig", "a: [", "- 1", "current-context: c"])
async def test_a_broken_kubeconfig_gets_a_clear_answer(tmp_path: Path, content: str) -> None:
    path = tmp_path / "config"
    path.write_text(content)

    with pytest.raises(credentials.NoClusterError, match="pass a kubeconfig or set KUBECONFIG"):
        await client.connect(str(path)).__aenter__()


async def test_a_broken_certificate_gets_a_clear_answer(tmp_path: Path) -> None:
    (tmp_path / "ca").write_text("no certificate")
    path = kubeconfig(tmp_path / "config", "https://127.0.0.1:1", authority=str(tmp_path / "ca"))

    with pytest.raises(credentials.NoClusterError, match="expected certificates for"):
        await client.connect(path).__aenter__()


async def test_a_missing_kubeconfig_gets_a_clear_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))

    with pytest.raises(credentials.NoClusterError, match="expected a cluster in"):
        await client.connect().__aenter__()


async def test_without_a_kubeconfig_the_environments_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("KUBECONFIG", kubeconfig(tmp_path / "config", "http://127.0.0.1:1"))

    async with client.connect() as kube:
        with pytest.raises(errors.Unavailable):
            await kube.get(PODS, "p", "default")


async def test_the_environment_is_asked_for_a_proxy_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("no_proxy", "inside.example")
    outside = await credentials.load(kubeconfig(tmp_path / "outside", "https://outside.example:6443"))
    inside = await credentials.load(kubeconfig(tmp_path / "inside", "https://inside.example:6443"))
    monkeypatch.delenv("https_proxy")

    assert outside.request_options == {"proxy": "http://proxy.example:3128"}
    assert inside.request_options == {}
    async with outside.session() as session:
        assert not session.trust_env
