"""The command line of the claims' maker: reads options, wires the parts, runs until told to stop."""

import asyncio
import logging
import os
import signal
import socket
import sys
from contextlib import suppress

import click
from prometheus_client import CollectorRegistry

from vgpu_kube import client, health, logs
from vgpu_kube.credentials import NoClusterError
from vgpu_kube.events import Recorder
from vgpu_webhooks.aliases import making

logger = logging.getLogger("vgpu_webhooks.aliases")

ANY_ADDRESS = "0.0.0.0"  # noqa: S104 -- kubelet and Prometheus come from other addresses


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--kubeconfig", metavar="FILE", help="Cluster to work on; without it the one we run in.")
@click.option("--log-level", type=click.Choice(logs.LEVELS), default="info", help="The least that is logged.")
@click.option(
    "--metrics-port", type=click.IntRange(1, 65535), default=9090, help="Port of /healthz, /readyz, /metrics."
)
def main(kubeconfig: str | None, log_level: str, metrics_port: int) -> None:
    """Make the claims of pods that were written for HAMi.

    Run one replica. It may be killed at any time: a pod without its claim waits.
    """
    logs.setup(log_level)
    try:
        asyncio.run(_serve(kubeconfig, metrics_port))
    except (NoClusterError, OSError) as error:
        sys.exit(f"vgpu-aliases: {error}")


async def _serve(kubeconfig: str | None, port: int) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with client.connect(kubeconfig) as kube:
        maker = making.Maker(kube, Recorder(kube, making.MANAGED_BY, f"{socket.gethostname()}-{os.getpid()}"))
        app = health.create_app(CollectorRegistry(), not_ready=maker.unready)
        runner = await health.serve(app, host=ANY_ADDRESS, port=port)
        work = asyncio.create_task(maker.run())
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait([work, stopping], return_when=asyncio.FIRST_COMPLETED)
        for task in (work, stopping):
            task.cancel()
        with suppress(asyncio.CancelledError):
            await work
        await runner.cleanup()
    logs.event(logger, logging.INFO, "stopped")


if __name__ == "__main__":
    main()
