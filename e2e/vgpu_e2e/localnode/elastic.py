"""A LocalBed with the elastic loop at work: a real Prometheus, and an operator that asks it."""

from vgpu_e2e import background, platform, prometheus
from vgpu_e2e.localnode import discovery
from vgpu_e2e.localnode.bed import LocalBed


class ElasticBed(LocalBed):
    """A LocalBed whose operator has a Prometheus; the servers that teams run are found and scraped."""

    async def _populate(self) -> None:
        await super()._populate()
        server = prometheus.Prometheus(self.plane.directory / "prometheus", self.plane)
        self.prometheus = await self._closing.enter_async_context(server)
        self.prometheus.scrape("vgpu-agent", self.agent.url)
        self.servers = discovery.Discovery(self.api, self.prometheus)
        work = background.Background()
        self._closing.push_async_callback(work.close)
        work.start(self.servers.follow())

    async def _start_operator(self) -> platform.Service:
        options = {"prometheus-url": self.prometheus.url, "scrape-seconds": prometheus.SCRAPE_SECONDS}
        return await self._start(
            "vgpu-operator",
            "vgpu_operator",
            account="vgpu-operator",
            port_flag="metrics-port",
            options=options,
        )
