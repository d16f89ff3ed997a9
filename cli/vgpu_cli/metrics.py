"""Numbers from Prometheus, asked through the API server where it is a service of the cluster."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import quote, urlsplit

import orjson

from vgpu_cli.cluster import Session
from vgpu_cli.reading import SYSTEM
from vgpu_kube import errors
from vgpu_kube.resources import DEPLOYMENTS

SECONDS = 5.0
"""How long something outside the cluster may take to answer."""

Fetch = Callable[[str], Awaitable[str]]
"""What stands at a URL that this machine reaches by itself; raises OSError where nothing answers."""


async def fetch(url: str) -> str:
    """What stands at a URL, asked from here. Raises OSError."""
    return await asyncio.to_thread(_fetched, url)


def _fetched(url: str) -> str:
    import urllib.request

    if not url.startswith(("http://", "https://")):
        raise OSError(f"expected http or https, found {url}")
    with urllib.request.urlopen(url, timeout=SECONDS) as answer:  # noqa: S310 -- the scheme is checked above
        content: bytes = answer.read()
    return content.decode(errors="replace")


async def configured(session: Session) -> str | None:
    """Where the operator looks for Prometheus; None where its Deployment is not there or names none."""
    try:
        deployment = await session.cluster.get(DEPLOYMENTS, "vgpu-operator", SYSTEM)
    except (errors.NotFound, errors.Forbidden):
        return None
    for container in deployment["spec"]["template"]["spec"]["containers"]:
        words = [*(container.get("command") or ()), *(container.get("args") or ())]
        for word, following in zip(words, [*words[1:], ""], strict=True):
            if word.startswith("--prometheus-url"):
                given: str = word.partition("=")[2] or following
                return given or None
    return None


async def ask(session: Session, fetch: Fetch, url: str, path: str) -> str:
    """What Prometheus answers at a path such as ``/-/ready``. Raises KubeError or OSError."""
    if proxied := through_api_server(url, path):
        return await session.cluster.text(proxied)
    return await fetch(f"{url.rstrip('/')}{path}")


async def by_claim(session: Session, fetch: Fetch, url: str, metric: str) -> Mapping[str, float]:
    """The sum of a metric over each claim, by ``namespace/name``. Raises KubeError, OSError or ValueError."""
    query = quote(f"sum by (namespace, claim) ({metric})")
    answer = orjson.loads(await ask(session, fetch, url, f"/api/v1/query?query={query}"))
    try:
        return {
            f"{each['metric']['namespace']}/{each['metric']['claim']}": float(each["value"][1])
            for each in answer["data"]["result"]
        }
    except (KeyError, TypeError) as error:
        raise ValueError(f"expected a vector of {metric}, found no {error}") from error


def through_api_server(url: str, path: str) -> str | None:
    """The API server's path to a service such as ``http://prometheus.monitoring:9090``; None for others."""
    parts = urlsplit(url)
    labels = (parts.hostname or "").split(".")
    is_service = len(labels) == 2 or (len(labels) > 2 and labels[2] == "svc")
    if not is_service or labels[-1].isdigit():
        return None
    port = parts.port or (443 if parts.scheme == "https" else 80)
    scheme = "https:" if parts.scheme == "https" else ""
    base = parts.path.rstrip("/")
    return f"/api/v1/namespaces/{labels[1]}/services/{scheme}{labels[0]}:{port}/proxy{base}{path}"
