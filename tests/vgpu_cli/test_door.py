"""The door against a small HTTP server that plays the API server."""

import gzip
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from vgpu_cli.door import Door
from vgpu_cli.faults import NoCluster
from vgpu_cli.kubeconfig import Login
from vgpu_kube import errors
from vgpu_kube.resources import VGPU_CLAIMS, VGPU_NODES


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.seen: list[tuple[str, str, dict[str, str], bytes]] = []
        self.answers: list[tuple[int, bytes, dict[str, str]]] = []

    def answer(self, body: Any, *, status: int = 200, **headers: str) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.answers.append((status, content, headers))

    @property
    def door(self) -> Door:
        return Door(Login(server=f"http://127.0.0.1:{self.server_port}/base", token="secret"))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def _any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.seen.append((self.command, self.path, dict(self.headers), body))
        status, content, headers = self.server.answers.pop(0)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PATCH = _any  # noqa: N815 -- the names that the library looks for

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[_Server]:
    with _Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


async def test_a_request_carries_the_token_and_the_servers_base_path(server: _Server) -> None:
    server.answer({"metadata": {"name": "llm"}})
    door = server.door

    assert await door.get(VGPU_CLAIMS, "llm", "team-a") == {"metadata": {"name": "llm"}}
    door.close()

    [(method, path, headers, _)] = server.seen
    assert method == "GET"
    assert path == "/base/apis/vgpu.dev/v1alpha1/namespaces/team-a/vgpuclaims/llm"
    assert headers["Authorization"] == "Bearer secret"


async def test_a_list_is_read_page_by_page(server: _Server) -> None:
    server.answer({"metadata": {"resourceVersion": "7", "continue": "more"}, "items": [{"a": 1}]})
    server.answer({"metadata": {"resourceVersion": "7"}, "items": [{"a": 2}]})
    door = server.door

    found = await door.list(VGPU_NODES, labels="gpu=a100")
    door.close()

    assert found.items == [{"a": 1}, {"a": 2}]
    queries = [parse_qs(urlsplit(path).query) for _, path, _, _ in server.seen]
    assert queries[0] == {"limit": ["500"], "labelSelector": ["gpu=a100"]}
    assert queries[1]["continue"] == ["more"]


async def test_a_compressed_answer_is_read(server: _Server) -> None:
    server.answer(gzip.compress(b'{"a": 1}'), Content_Encoding="gzip")
    door = server.door

    assert await door.get(VGPU_NODES, "gpu-0") == {"a": 1}
    door.close()


async def test_patches_and_rehearsals_say_what_they_are(server: _Server) -> None:
    for _ in range(4):
        server.answer({})
    door = server.door

    await door.patch_json(VGPU_NODES, "gpu-0", [{"op": "test", "path": "/spec/revision", "value": 1}])
    await door.patch_merge(VGPU_CLAIMS, "llm", {"spec": {}}, "team-a")
    await door.rehearse_patch(VGPU_CLAIMS, "llm", {"spec": {}}, "team-a")
    await door.rehearse(VGPU_CLAIMS, {"metadata": {"name": "llm"}}, "team-a")
    door.close()

    kinds = [headers["Content-Type"] for _, _, headers, _ in server.seen]
    assert kinds == [
        "application/json-patch+json",
        "application/merge-patch+json",
        "application/merge-patch+json",
        "application/json",
    ]
    assert [path.endswith("?dryRun=All") for _, path, _, _ in server.seen] == [False, False, True, True]
    assert json.loads(server.seen[3][3])["kind"] == "VGPUClaim"


@pytest.mark.parametrize(
    ("status", "kind"),
    [(403, errors.Forbidden), (404, errors.NotFound), (409, errors.Conflict), (503, errors.Unavailable)],
)
async def test_refusals_are_those_of_the_long_lived_client(
    server: _Server, status: int, kind: type[errors.KubeError]
) -> None:
    server.answer({"reason": "Because", "message": "no"}, status=status)
    door = server.door

    with pytest.raises(kind, match="no"):
        await door.get(VGPU_NODES, "gpu-0")
    door.close()


async def test_a_failed_test_of_a_json_patch_is_a_conflict(server: _Server) -> None:
    said = "the server rejected our request due to an error in our request"
    server.answer({"reason": "Invalid", "message": said}, status=422)
    door = server.door

    with pytest.raises(errors.Conflict):
        await door.patch_json(VGPU_NODES, "gpu-0", [])
    door.close()


async def test_a_page_that_is_no_json_is_told_and_not_thrown_as_it_is(server: _Server) -> None:
    server.answer(b"<html>a proxy</html>")
    door = server.door

    with pytest.raises(errors.Unavailable, match="no JSON"):
        await door.get(VGPU_NODES, "gpu-0")
    door.close()


async def test_where_nothing_listens_the_address_is_named() -> None:
    door = Door(Login(server="http://127.0.0.1:9"))

    with pytest.raises(errors.Unavailable, match=r"http://127\.0\.0\.1:9: .*refused"):
        await door.text("/version")


def test_certificates_that_are_none_are_told() -> None:
    with pytest.raises(NoCluster, match="expected certificates"):
        Door(Login(server="https://127.0.0.1:9", authority=b"-----BEGIN CERTIFICATE-----\nno\n"))
