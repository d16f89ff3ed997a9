"""The command line of the certificates' Job: one look, one renewal where it is due."""

import asyncio
import logging
import sys
from datetime import UTC, datetime

import click

from vgpu_kube import client, logs
from vgpu_kube.credentials import NoClusterError
from vgpu_kube.errors import KubeError
from vgpu_webhooks.certificates import keeping

logger = logging.getLogger("vgpu_webhooks.certificates")


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--kubeconfig", metavar="FILE", help="Cluster to work on; without it the one we run in.")
@click.option("--namespace", default="vgpu-system", help="Where vgpu-admission runs.")
@click.option("--log-level", type=click.Choice(logs.LEVELS), default="info", help="The least that is logged.")
def main(kubeconfig: str | None, namespace: str, log_level: str) -> None:
    """Make the certificate of vgpu-admission and the API server's trust in it, and renew them in time.

    Renews what has lived two thirds of its year; changes nothing otherwise. Ends with 1 when that failed.
    """
    logs.setup(log_level)
    try:
        asyncio.run(_keep(kubeconfig, namespace))
    except (KubeError, NoClusterError, OSError) as error:
        sys.exit(f"vgpu-certificates: {error}")


async def _keep(kubeconfig: str | None, namespace: str) -> None:
    async with client.connect(kubeconfig) as kube:
        renewed = await keeping.keep_trying(
            kube, namespace, now=lambda: datetime.now(UTC), sleep=asyncio.sleep
        )
    logs.event(logger, logging.INFO, "certificate renewed" if renewed else "certificate lasts")


if __name__ == "__main__":
    main()
