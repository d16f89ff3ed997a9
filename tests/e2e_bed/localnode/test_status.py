"""What the local node says of a pod, and how it asks whether one is ready."""

import pytest
from aiohttp import web

from vgpu_e2e.localnode import readiness, status
from vgpu_e2e.rest import Object

NOW = "2026-01-01T00:00:00Z"
PROBE = {"httpGet": {"path": "/ready", "port": "http"}, "periodSeconds": 1}


def pod() -> Object:
    return {"spec": {"containers": [{"name": "main", "image": "example.invalid/server:1"}]}}


def ready(said: Object) -> str:
    [condition] = [each for each in said["conditions"] if each["type"] == "Ready"]
    return str(condition["status"])


@pytest.mark.parametrize(("answers", "told"), [(True, "True"), (False, "False")])
def test_a_running_pod_is_ready_when_its_probe_says_so(answers: bool, told: str) -> None:
    states = {"main": status.State(started_at=NOW, answers=answers)}

    said = status.pod_status(pod(), states, address="127.9.9.9", now=NOW)

    assert (said["phase"], ready(said)) == ("Running", told)


def test_a_pod_has_an_address_that_is_not_its_hosts() -> None:
    said = status.pod_status(pod(), {}, address="127.9.9.9", now=NOW)

    assert (said["podIP"], said["hostIP"]) == ("127.9.9.9", "127.0.0.1")


@pytest.mark.parametrize(("code", "serves"), [(200, True), (503, False)])
async def test_a_probe_asks_the_pods_address_at_the_port_of_that_name(code: int, serves: bool) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=code)

    app = web.Application()
    app.router.add_get("/ready", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    container = {"ports": [{"name": "http", "containerPort": port}], "readinessProbe": PROBE}

    found = await readiness.ready(container, host)

    await runner.cleanup()
    assert found is serves
