"""Which pods are servers, and which of them are ready."""

import pytest

from vgpu_e2e.localnode import discovery
from vgpu_e2e.rest import Object


def pod(*, phase: str = "Running", ready: str = "True", port: int | None = 8000, **about: str) -> Object:
    container: Object = {"name": "main"} if port is None else {"ports": [{"containerPort": port}]}
    return {
        "metadata": {"name": "llm-1", "namespace": "team-a", "labels": {"app": "llm"}, **about},
        "spec": {"containers": [container]},
        "status": {
            "phase": phase,
            "podIP": "127.9.9.9",
            "conditions": [{"type": "Ready", "status": ready}],
        },
    }


@pytest.mark.parametrize(("ready", "takes_requests"), [("True", True), ("False", False)])
def test_a_server_is_scraped_at_its_address_whether_or_not_it_takes_requests(
    ready: str, takes_requests: bool
) -> None:
    found = discovery.server(pod(ready=ready))

    assert found is not None
    assert (found.address, found.ready) == ("127.9.9.9:8000", takes_requests)


@pytest.mark.parametrize(
    "made",
    [pod(phase="Pending"), pod(port=None), pod(deletionTimestamp="2026-01-01T00:00:00Z")],
    ids=["not yet running", "no port", "on its way out"],
)
def test_what_does_not_serve_is_no_server(made: Object) -> None:
    assert discovery.server(made) is None
