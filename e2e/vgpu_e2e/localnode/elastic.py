"""A LocalBed with the elastic loop at work: a real Prometheus, and an operator that asks it."""

from vgpu_e2e import platform, prometheus
from vgpu_e2e.localnode.bed import LocalBed


class ElasticBed(LocalBed):
    """A LocalBed whose operator has been given a Prometheus; what teams run is scraped once it is told to."""

    async def _populate(self) -> None:
        await super()._populate()
        server = prometheus.Prometheus(self.plane.directory / "prometheus", self.plane)
        self.prometheus = await self._closing.enter_async_context(server)
        self.prometheus.scrape("vgpu-agent", self.agent.url)

    async def _start_operator(self) -> platform.Service:
        options = {"prometheus-url": self.prometheus.url, "scrape-seconds": prometheus.SCRAPE_SECONDS}
        return await self._start(
            "vgpu-operator",
            "vgpu_operator",
            account="vgpu-operator",
            port_flag="metrics-port",
            options=options,
        )
