import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client import CollectorRegistry

from vgpu_kube.testing import Cluster
from vgpu_webhooks.admission import app
from vgpu_webhooks.admission.metrics import Metrics
from vgpu_webhooks.admission.view import ClusterView, KnownClaim

JSON = {"Content-Type": "application/json"}
Client = TestClient[Any, Any]


def review(label: str = "llm", **changes: Any) -> bytes:
    pod = {"metadata": {"labels": {"vgpu.dev/claim": label}}, "spec": {"containers": [{"name": "c"}]}}
    request = {
        "uid": "u1",
        "resource": {"group": "", "version": "v1", "resource": "pods"},
        "operation": "CREATE",
        "namespace": "team-a",
        "object": pod,
        **changes,
    }
    return orjson.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request})


class Mistaken(ClusterView):
    """A view with a mistake in it."""

    async def claim(self, namespace: str, name: str) -> KnownClaim | None:
        raise ZeroDivisionError


async def serving(view: ClusterView) -> AsyncIterator[Client]:
    application = app.create_app(view=view, metrics=Metrics(CollectorRegistry()), clock=lambda: 0.0)
    async with TestClient(TestServer(application)) as client:
        yield client


@pytest.fixture
async def client(followed: ClusterView) -> AsyncIterator[Client]:
    async for each in serving(followed):
        yield each


async def posted(
    client: Client, body: bytes, path: str = "/mutate/pods", headers: dict[str, str] = JSON
) -> tuple[int, str]:
    async with client.post(path, data=body, headers=headers) as response:
        return response.status, await response.text()


async def answered(client: Client, body: bytes, path: str = "/mutate/pods") -> dict[str, Any]:
    status, text = await posted(client, body, path)
    assert status == 200
    response: dict[str, Any] = orjson.loads(text)["response"]
    return response


async def alive(client: Client) -> bool:
    return bool((await answered(client, review()))["allowed"])


async def test_a_labelled_pod_comes_back_with_its_patch(client: Client) -> None:
    response = await answered(client, review())

    assert response["allowed"]
    assert "schedulerName" in base64.b64decode(response["patch"]).decode()


async def test_a_refusal_is_an_answer_with_its_sentence(client: Client) -> None:
    response = await answered(client, review("nope"))

    assert not response["allowed"]
    assert "expected a VGPUClaim 'nope'" in response["status"]["message"]


@pytest.mark.parametrize("webhook", app.WEBHOOKS, ids=lambda each: each.path)
async def test_every_webhook_refuses_what_it_was_not_asked_for(client: Client, webhook: app.Webhook) -> None:
    other = {"group": "apps", "version": "v1", "resource": "deployments"}

    response = await answered(client, review(resource=other), webhook.path)

    assert response["uid"] == "u1"
    assert f"expected {webhook.plural}" in response["status"]["message"]


async def test_what_is_no_json_is_a_400_in_words(client: Client) -> None:
    status, text = await posted(client, b"{nope")

    assert status == 400
    assert "expected JSON" in text
    assert "Traceback" not in text
    assert await alive(client)


async def test_another_content_type_is_a_415(client: Client) -> None:
    status, text = await posted(client, review(), headers={"Content-Type": "text/plain"})

    assert status == 415
    assert "expected Content-Type application/json, found text/plain" in text


async def test_a_body_of_100_mb_is_refused_before_it_is_sent(client: Client) -> None:
    reader, writer = await asyncio.open_connection(client.host, client.port)
    head = (
        "POST /mutate/pods HTTP/1.1",
        "Host: x",
        "Content-Type: application/json",
        "Content-Length: 104857600",
    )

    writer.write("\r\n".join([*head, "", ""]).encode() + bytes(1024))
    text = (await reader.readuntil(b"smaller object\n")).decode()
    writer.close()

    assert text.startswith("HTTP/1.1 413")
    assert "expected at most 3145728 bytes, found 104857600" in text
    assert await alive(client)


async def test_a_body_that_does_not_say_its_length_ends_at_the_limit(client: Client) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(8):
            yield bytes(1024**2)

    async with client.post("/mutate/pods", data=endless(), headers=JSON) as response:
        assert response.status == 413
    assert await alive(client)


@pytest.mark.parametrize(
    "nested",
    [
        b"[" * 500_000 + b"]" * 500_000,
        b'{"kind":' * 900 + b"1" + b"}" * 900,
        b'{"a":[' * 100_000 + b"]}" * 100_000,
    ],
    ids=["lists", "objects", "both"],
)
async def test_deep_nesting_is_refused(client: Client, nested: bytes) -> None:
    status, text = await posted(client, nested)

    assert status == 400
    assert "AdmissionReview: expected" in text
    assert await alive(client)


async def test_deep_nesting_inside_a_pod_is_refused(client: Client) -> None:
    deep = {"a": 1}
    for _ in range(100):
        deep = {"a": deep}  # type: ignore[dict-item] # nesting has no finite type
    pod = {"metadata": {"labels": {"vgpu.dev/claim": "llm"}}, "spec": deep}

    status, text = await posted(client, review(object=pod))

    assert status == 400
    assert "levels of nesting" in text


async def test_other_methods_and_paths_are_refused(client: Client) -> None:
    assert (await client.get("/mutate/pods")).status == 405
    assert (await client.post("/mutate/nodes")).status == 404


async def test_a_mistake_of_ours_is_one_refused_request(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async for client in serving(Mistaken(Cluster())):
        status, text = await posted(client, review())

        assert status == 500
        assert "Traceback" not in text
        assert (await client.get("/healthz")).status == 200
    assert "review failed webhook=/mutate/pods" in caplog.text


async def test_it_says_that_it_lives_and_when_it_is_ready(client: Client) -> None:
    assert (await client.get("/healthz")).status == 200
    assert (await client.get("/readyz")).status == 200


async def test_it_is_not_ready_before_it_knows_the_cluster() -> None:
    async for client in serving(ClusterView(Cluster())):
        response = await client.get("/readyz")

        assert response.status == 503
        assert "expected the lists of pools, claims, nodes" in await response.text()
        assert (await client.get("/healthz")).status == 200


async def test_it_counts_what_it_answers(client: Client) -> None:
    await answered(client, review())
    await answered(client, review("nope"))
    await posted(client, b"{nope")

    exposed = await (await client.get("/metrics")).text()

    for result in ("allowed", "refused", "malformed"):
        assert f'vgpu_admission_reviews_total{{result="{result}",webhook="/mutate/pods"}} 1.0' in exposed
    assert 'vgpu_admission_duration_seconds_count{webhook="/mutate/pods"} 3.0' in exposed
