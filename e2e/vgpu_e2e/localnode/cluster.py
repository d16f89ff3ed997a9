"""A cluster to try things on: the whole platform, this machine as its node, simulated GPUs, a gateway.

    python -m vgpu_e2e.localnode.cluster --gpus 2

It stays up until Ctrl-C and leaves what a shell needs in `build/cluster/env`.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import click
from aiohttp import web

from vgpu_e2e import background, prometheus
from vgpu_e2e.localnode import discovery, gateway
from vgpu_e2e.localnode.bed import LocalBed
from vgpu_e2e.localnode.elastic import ElasticBed
from vgpu_e2e.platform import REPOSITORY

ENV = REPOSITORY / "build" / "cluster" / "env"


@contextlib.asynccontextmanager
async def cluster(*, gpus: int, log_level: str = "warning") -> AsyncIterator[dict[str, str]]:
    """Run the cluster inside the `async with`; gives the environment of a shell that talks to it."""
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    missing = prometheus.missing()
    bed = LocalBed(gpus=gpus, log_level=log_level) if missing else ElasticBed(gpus=gpus, log_level=log_level)
    async with bed, contextlib.AsyncExitStack() as stack:
        found = bed.servers if isinstance(bed, ElasticBed) else discovery.Discovery(bed.api)
        if not isinstance(bed, ElasticBed):
            work = background.Background()
            stack.push_async_callback(work.close)
            work.start(found.follow())
        url = await stack.enter_async_context(_served(gateway.Gateway(found)))
        environment = {
            "KUBECONFIG": str(bed.plane.admin),
            "PATH": os.pathsep.join([str(bed.plane.binaries), os.environ["PATH"]]),
            "GATEWAY": url,
        }
        if isinstance(bed, ElasticBed):
            bed.prometheus.scrape("gateway", url)
            environment["PROMETHEUS"] = bed.prometheus.url
        yield environment


@contextlib.asynccontextmanager
async def _served(made: gateway.Gateway) -> AsyncIterator[str]:
    runner = web.AppRunner(made.app(), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
        yield "http://{}:{}".format(*runner.addresses[0])
    finally:
        await runner.cleanup()


@click.command()
@click.option("--gpus", type=click.IntRange(1, 16), default=2, show_default=True, help="Simulated A100s.")
def main(gpus: int) -> None:
    """Keep a cluster up until Ctrl-C."""
    asyncio.run(_stay(gpus))


async def _stay(gpus: int) -> None:
    stopping = asyncio.Event()
    for each in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(each, stopping.set)
    print("starting a cluster, half a minute ...", flush=True)
    async with cluster(gpus=gpus) as environment:
        ENV.parent.mkdir(parents=True, exist_ok=True)
        ENV.write_text("".join(f"export {name}='{value}'\n" for name, value in environment.items()))
        if missing := prometheus.missing():
            print(f"without the elastic loop: {missing}")
        print(f"ready. In another shell:\n\n    . {ENV.relative_to(REPOSITORY)}\n    kubectl vgpu tree\n")
        print("Ctrl-C ends it.", flush=True)
        try:
            await stopping.wait()
        finally:
            ENV.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
