"""``vgpu-operator``: the command line, and the process around the reconciler and kopf."""

import asyncio
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import click
import kopf
import uvloop
from aiohttp import web
from prometheus_client import CollectorRegistry

from vgpu_kube import client, collecting, crash, credentials, health, logs
from vgpu_kube.events import Recorder
from vgpu_kube.protocol import Kube
from vgpu_operator import events, handlers
from vgpu_operator.elasticity import wiring
from vgpu_operator.elasticity.loop import Loop
from vgpu_operator.metrics import Metrics
from vgpu_operator.reconciler import Reconciler

logger = logging.getLogger("vgpu_operator")


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option(
    "--kubeconfig",
    type=click.Path(dir_okay=False),
    help="How to reach the cluster; without it the pod's service account, then $KUBECONFIG.",
)
@click.option("--log-level", type=click.Choice(logs.LEVELS), default="info", help="The least that is logged.")
@click.option(
    "--metrics-port", type=click.IntRange(1, 65535), default=9090, help="Port of /healthz, /readyz, /metrics."
)
@click.option(
    "--metrics-host",
    default="0.0.0.0",  # noqa: S104 -- kubelet and Prometheus come from other addresses
    help="Address of that port.",
)
@click.option(
    "--prometheus-url",
    help="Where load and use are asked; without it no slice is sized and no replica scaled by load.",
)
@click.option(
    "--scrape-seconds",
    type=click.IntRange(1, 300),
    default=5,
    help="How often that Prometheus scrapes the node agents.",
)
@click.option("--crash-at", metavar="NAME[:N]", hidden=True, help="Dies at a named point, for tests.")
def main(
    kubeconfig: str | None,
    log_level: str,
    metrics_port: int,
    metrics_host: str,
    prometheus_url: str | None,
    scrape_seconds: int,
    crash_at: str | None,
) -> None:
    """Keep VGPUPools and VGPUClaims told of what is, and carry edits of live claims to the nodes.

    Run one replica. It may be killed at any time: all it knows lies in the cluster.
    """
    collecting.rarely()
    logs.setup(log_level)
    logging.getLogger("kopf.objects").addFilter(handlers.calm)
    try:
        if crash_at is not None:
            crash.arm(crash_at)
        prometheus = None if prometheus_url is None else (prometheus_url, scrape_seconds)
        uvloop.run(_serve(kubeconfig, (metrics_host, metrics_port), prometheus))
    except (ValueError, OSError, credentials.NoClusterError) as error:
        sys.exit(f"vgpu-operator: {error}")


async def _serve(
    kubeconfig: str | None, address: tuple[str, int], prometheus: tuple[str, int] | None
) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    async with AsyncExitStack() as stack:
        kube = await stack.enter_async_context(client.connect(kubeconfig))
        metrics = Metrics(CollectorRegistry())
        recorder = Recorder(kube, events.COMPONENT, f"{socket.gethostname()}-{os.getpid()}")
        reconciler = Reconciler(kube, metrics, recorder)
        loop = _loop(kube, reconciler, recorder, metrics, prometheus)
        app = health.create_app(metrics.registry, not_ready=reconciler.view.lag)
        runner = await health.serve(app, host=address[0], port=address[1])
        stack.push_async_callback(runner.cleanup)
        await stack.enter_async_context(reconciler.running())
        if await _synced(reconciler, stopping):
            await _operate(reconciler, loop, runner, kubeconfig, stopping)
    logs.event(logger, logging.INFO, "stopped")


def _loop(
    kube: Kube,
    reconciler: Reconciler,
    recorder: Recorder,
    metrics: Metrics,
    prometheus: tuple[str, int] | None,
) -> Loop | None:
    """The elastic loop, where there is a Prometheus to ask; its URL and how often it scrapes."""
    if prometheus is None:
        return None
    from vgpu_operator.elasticity.prometheus import Server  # its client takes half a second to import

    url, scrape_seconds = prometheus
    loop = wiring.loop(
        kube,
        reconciler.view,
        Server(url),
        recorder,
        metrics,
        woken=reconciler.claim_queue.wake,
        contended=lambda pool: bool(reconciler.room.waiting_for(pool)),
        scrape_seconds=scrape_seconds,
        now=time.time,
        clock=time.monotonic,
        sleep=asyncio.sleep,
    )
    reconciler.follow(loop)
    return loop


async def _synced(reconciler: Reconciler, stopping: asyncio.Event) -> bool:
    """True once everything is known, False where we are asked to stop before that."""
    waits = [asyncio.create_task(reconciler.view.synced()), asyncio.create_task(stopping.wait())]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for task in waits:
        task.cancel()
    await asyncio.gather(*waits, return_exceptions=True)
    return not stopping.is_set()


async def _operate(
    reconciler: Reconciler,
    loop: Loop | None,
    runner: web.AppRunner,
    kubeconfig: str | None,
    stopping: asyncio.Event,
) -> None:
    """Judges and writes until asked to stop."""
    reconciler.start()
    looks = [
        asyncio.create_task(reconciler.look_for_room()),
        asyncio.create_task(reconciler.look_for_silence()),
        *([asyncio.create_task(loop.run())] if loop is not None else []),
    ]
    logs.event(logger, logging.INFO, "ready", pools=len(reconciler.view.book.pools))

    async def wind_up() -> None:
        stopping.set()  # kopf's own task that waits for the flag would otherwise be waited for
        for task in looks:
            task.cancel()
        await asyncio.gather(*looks, return_exceptions=True)
        await reconciler.stop()
        await runner.cleanup()

    await _host(reconciler, kubeconfig, stopping, wind_up)
    await wind_up()


async def _host(
    reconciler: Reconciler,
    kubeconfig: str | None,
    stopping: asyncio.Event,
    wind_up: Callable[[], Awaitable[None]],
) -> None:
    await kopf.operator(
        registry=handlers.registry(
            reconciler.pools, reconciler.claims, kubeconfig=kubeconfig, on_cleanup=wind_up
        ),
        settings=handlers.settings(),
        clusterwide=True,
        standalone=True,
        stop_flag=stopping,
    )


if __name__ == "__main__":
    main()
