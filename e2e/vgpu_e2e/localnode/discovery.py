"""Which servers are ready on the local node, and where they listen: by the labels of their pods.

A server prints `listening on HOST:PORT` when it is. Every one that is ready is scraped by Prometheus.
"""

import asyncio
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from vgpu_e2e import prometheus, rest
from vgpu_e2e.rest import Object

LOOK_SECONDS = 0.25
LISTENING = re.compile(r"^listening on (\S+)$", re.MULTILINE)

Output = Callable[[Object, str], str]
"""What a pod's container has printed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One ready server; `address` is HOST:PORT."""

    pod: str
    namespace: str
    app: str
    address: str


class Discovery:
    """The ready servers of all namespaces, as last looked at."""

    def __init__(self, api: rest.API, output: Output, scraping: prometheus.Prometheus | None = None) -> None:
        self._api = api
        self._output = output
        self._prometheus = scraping
        self.servers: Mapping[str, Server] = {}

    async def follow(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Look once."""
        pods, _ = await self._api.list("/api/v1/pods", parameters={"labelSelector": "app"})
        found = [server for pod in pods if (server := self._server(pod)) is not None]
        before, self.servers = self.servers, {each.pod: each for each in found}
        if self._prometheus is not None:
            for name in self.servers.keys() - before.keys():
                server = self.servers[name]
                labels = {"namespace": server.namespace, "app": server.app, "pod": server.pod}
                self._prometheus.scrape(name, f"http://{server.address}", **labels)
            for name in before.keys() - self.servers.keys():
                self._prometheus.forget(name)

    def _server(self, pod: Object) -> Server | None:
        conditions = pod.get("status", {}).get("conditions", [])
        ready = any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
        if not ready or "deletionTimestamp" in pod["metadata"]:
            return None
        about = pod["metadata"]
        starts = LISTENING.findall(self._output(pod, pod["spec"]["containers"][0]["name"]))
        if not starts:
            return None
        return Server(
            pod=about["name"],
            namespace=about["namespace"],
            app=about["labels"]["app"],
            address=starts[-1],
        )
