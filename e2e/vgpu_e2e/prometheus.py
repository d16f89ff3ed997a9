"""The real Prometheus of the distribution, scraping what it is told to, once a second.

Where it is not installed, `missing()` says how to get it; nothing here is a stand-in for it.
"""

import contextlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from vgpu_e2e import controlplane, probes, process
from vgpu_e2e.rest import Object

SCRAPE_SECONDS = 1


def missing() -> str | None:
    """Return why there is no Prometheus to start, None where there is one."""
    if shutil.which("prometheus") is None:
        return (
            "there is no prometheus on this machine: make realnode installs the distribution's (Debian, root)"
        )
    return None


class Prometheus:
    """A server inside the `async with`; targets may come and go while it runs."""

    def __init__(self, directory: Path, plane: controlplane.ControlPlane) -> None:
        self._directory = directory
        self._plane = plane
        self._targets: dict[str, tuple[str, dict[str, str]]] = {}
        self.url = ""

    async def __aenter__(self) -> Self:
        (self._directory / "data").mkdir(parents=True, exist_ok=True)
        self._configure()
        self.process, ports = await process.start_on_free_ports(
            self._made,
            lambda ports: probes.answers(f"http://127.0.0.1:{ports[0]}/-/ready"),
            count=1,
            awaited="GET /-/ready",
        )
        self.url = f"http://127.0.0.1:{ports[0]}"
        return self

    async def restart(self) -> None:
        """Start it again after it was killed, with what it had stored."""
        self.process.start()
        await self.process.ready(probes.answers(f"{self.url}/-/ready"), awaited="GET /-/ready")

    async def __aexit__(self, *_: object) -> None:
        await self.process.killed()  # its data goes with the directory

    def scrape(self, name: str, url: str, **labels: str) -> None:
        """From now on scrape this address (`http://host:port`, its /metrics), with labels of its own."""
        self._targets[name] = (url.removeprefix("http://"), labels)
        self._write_targets()

    def forget(self, name: str) -> None:
        """Scrape it no longer."""
        with contextlib.suppress(KeyError):
            del self._targets[name]
            self._write_targets()

    def _made(self, ports: Sequence[int]) -> process.Process:
        options = {
            "config.file": self._directory / "prometheus.yml",
            "storage.tsdb.path": self._directory / "data",
            "web.listen-address": f"127.0.0.1:{ports[0]}",
            "log.level": "warn",
        }
        return self._plane.child("prometheus", ["prometheus", *controlplane.flags(options)])

    def _configure(self) -> None:
        """Write the configuration; it is JSON, which is YAML."""
        interval = f"{SCRAPE_SECONDS}s"
        found = {"files": [str(self._directory / "targets.json")], "refresh_interval": interval}
        job: Object = {"job_name": "bed", "honor_labels": True, "file_sd_configs": [found]}
        times = {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval}
        configuration = {"global": times, "scrape_configs": [job]}
        (self._directory / "prometheus.yml").write_text(json.dumps(configuration))
        self._write_targets()

    def _write_targets(self) -> None:
        entries = [{"targets": [address], "labels": labels} for address, labels in self._targets.values()]
        new = self._directory / "targets.json.new"
        new.write_text(json.dumps(entries))
        new.rename(self._directory / "targets.json")
