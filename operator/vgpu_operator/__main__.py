"""``vgpu-operator``: the command line, and the process around the reconciler and kopf."""

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import click
import kopf
import uvloop
from aiohttp import web
from prometheus_client import CollectorRegistry

from vgpu_kube import client, crash, credentials, logs
from vgpu_kube.events import Recorder
from vgpu_kube.protocol import Kube
from vgpu_operator import events, handlers, health
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
@click.option("--crash-at", metavar="NAME[:N]", hidden=True, help="Dies at a named point, for tests.")
def main(
    kubeconfig: str | None, log_level: str, metrics_port: int, metrics_host: str, crash_at: str | None
) -> None:
    """Keep VGPUPools and VGPUClaims told of what is, and carry edits of live claims to the nodes.

    Run one replica. It may be killed at any time: all it knows lies in the cluster.
    """
    logs.setup(log_level)
    logging.getLogger("kopf.objects").addFilter(handlers.calm)
    try:
        if crash_at is not None:
            crash.arm(crash_at)
        uvloop.run(_serve(kubeconfig, metrics_host, metrics_port))
    except (ValueError, OSError, credentials.NoClusterError) as error:
        sys.exit(f"vgpu-operator: {error}")


async def _serve(kubeconfig: str | None, host: str, port: int) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    async with AsyncExitStack() as stack:
        kube = await stack.enter_async_context(client.connect(kubeconfig))
        metrics = Metrics(CollectorRegistry())
        reconciler = _reconciler(kube, metrics)
        app = health.create_app(metrics.registry, not_ready=reconciler.view.lag)
        runner = await health.serve(app, host=host, port=port)
        stack.push_async_callback(runner.cleanup)
        await stack.enter_async_context(reconciler.running())
        if await _synced(reconciler, stopping):
            await _operate(reconciler, runner, kubeconfig, stopping)
    logs.event(logger, logging.INFO, "stopped")


def _reconciler(kube: Kube, metrics: Metrics) -> Reconciler:
    recorder = Recorder(kube, events.COMPONENT, f"{socket.gethostname()}-{os.getpid()}")
    return Reconciler(kube, metrics, recorder)


async def _synced(reconciler: Reconciler, stopping: asyncio.Event) -> bool:
    """True once everything is known, False where we are asked to stop before that."""
    waits = [asyncio.create_task(reconciler.view.synced()), asyncio.create_task(stopping.wait())]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for task in waits:
        task.cancel()
    await asyncio.gather(*waits, return_exceptions=True)
    return not stopping.is_set()


async def _operate(
    reconciler: Reconciler, runner: web.AppRunner, kubeconfig: str | None, stopping: asyncio.Event
) -> None:
    """Judges and writes until asked to stop."""
    reconciler.start()
    looks = [
        asyncio.create_task(reconciler.look_for_room()),
        asyncio.create_task(reconciler.look_for_silence()),
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
