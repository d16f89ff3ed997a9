import json

import pytest

from town import Town
from vgpu_cli import metrics
from vgpu_cli.cluster import Session

PROXIED = "/api/v1/namespaces/monitoring/services/prometheus:9090/proxy/-/ready"


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("http://prometheus.monitoring:9090", PROXIED),
        ("http://prometheus.monitoring.svc:9090/", PROXIED),
        ("http://prometheus.monitoring.svc.cluster.local:9090", PROXIED),
        ("https://p.m/base", "/api/v1/namespaces/m/services/https:p:443/proxy/base/-/ready"),
        ("http://127.0.0.1:9090", None),
        ("http://localhost:9090", None),
        ("https://prometheus.example.org", None),
    ],
)
def test_a_services_url_is_asked_through_the_api_server(url: str, path: str | None) -> None:
    assert metrics.through_api_server(url, "/-/ready") == path


async def test_a_vector_is_summed_by_claim(town: Town) -> None:
    series = {"metric": {"namespace": "team-a", "claim": "llm"}, "value": [1.0, "3.5"]}

    async def fetch(url: str) -> str:
        assert "vgpu_claim_memory_used_bytes" in url
        return json.dumps({"data": {"result": [series]}})

    found = await metrics.by_claim(
        Session(town, "team-a"), fetch, "http://localhost:9090", "vgpu_claim_memory_used_bytes"
    )

    assert found == {"team-a/llm": 3.5}


async def test_an_answer_that_is_no_vector_is_refused(town: Town) -> None:
    async def fetch(_: str) -> str:
        return json.dumps({"status": "error"})

    with pytest.raises(ValueError, match="expected a vector"):
        await metrics.by_claim(Session(town, "team-a"), fetch, "http://localhost:9090", "m")
