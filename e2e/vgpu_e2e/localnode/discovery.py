"""Which servers there are on the node, and which of them are ready: by the labels and ports of their pods.

As with Prometheus' own discovery and a Service's endpoints: every server is scraped, ready ones get requests.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from vgpu_e2e import prometheus, rest
from vgpu_e2e.rest import Object

LOOK_SECONDS = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One running server; `address` is HOST:PORT."""

    pod: str
    namespace: str
    app: str
    address: str
    ready: bool


class Discovery:
    """The servers of all namespaces, as last looked at."""

    def __init__(self, api: rest.API, scraping: prometheus.Prometheus | None = None) -> None:
        self._api = api
        self._prometheus = scraping
        self._servers: Mapping[str, Server] = {}

    def ready(self, namespace: str, app: str) -> list[str]:
        """The addresses of an app's servers that take requests."""
        return [
            each.address
            for each in self._servers.values()
            if each.ready and (each.namespace, each.app) == (namespace, app)
        ]

    async def follow(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Look once."""
        pods, _ = await self._api.list("/api/v1/pods", parameters={"labelSelector": "app"})
        found = [each for pod in pods if (each := server(pod)) is not None]
        before, self._servers = self._servers, {each.address: each for each in found}
        if self._prometheus is not None:
            for each in found:
                if each.address not in before:
                    labels = {"namespace": each.namespace, "app": each.app, "pod": each.pod}
                    self._prometheus.scrape(each.address, f"http://{each.address}", **labels)
            for address in before.keys() - self._servers.keys():
                self._prometheus.forget(address)


def server(pod: Object) -> Server | None:
    """The server that a pod is; None for one that does not run, is on its way out, or names no port."""
    about, status = pod["metadata"], pod.get("status", {})
    ports = pod["spec"]["containers"][0].get("ports", [])
    if status.get("phase") != "Running" or "deletionTimestamp" in about or not ports:
        return None
    conditions = status.get("conditions", [])
    return Server(
        pod=about["name"],
        namespace=about["namespace"],
        app=about["labels"]["app"],
        address=f"{status['podIP']}:{ports[0]['containerPort']}",
        ready=any((each["type"], each["status"]) == ("Ready", "True") for each in conditions),
    )
