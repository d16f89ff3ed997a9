"""``vgpu-extender``: the command line, the event loop, and a clean end. Nothing is decided here."""

import asyncio
import logging
import secrets
import signal
from pathlib import Path

import click
import prometheus_client as prometheus
import uvloop
from aiohttp import web

from vgpu_kube import client, collecting, crash, credentials, logs
from vgpu_webhooks.extender import app, extender

logger = logging.getLogger(__name__)

GRACE_SECONDS = 3.0
"""How long requests in flight may take to end after SIGTERM."""

ANY_ADDRESS = "0.0.0.0"  # noqa: S104 -- kubelet and Prometheus come from other addresses


def _arm(context: click.Context, option: click.Parameter, specs: tuple[str, ...]) -> None:
    for spec in specs:
        try:
            crash.arm(spec)
        except ValueError as error:
            raise click.BadParameter(str(error), ctx=context, param=option) from None


@click.command(context_settings={"show_default": True, "max_content_width": 100})
@click.option(
    "--kubeconfig",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Credentials for the API server; without it those of the pod, or of the user's kubeconfig.",
)
@click.option("--log-level", type=click.Choice(logs.LEVELS), default="info", help="The least that is logged.")
@click.option("--host", default="127.0.0.1", help="Address to listen on; kube-scheduler calls from beside.")
@click.option("--port", type=click.IntRange(0, 65535), default=8888, help="Port to listen on.")
@click.option(
    "--metrics-port",
    type=click.IntRange(1, 65535),
    help="Port on all addresses for /healthz, /readyz, /metrics alone; without it they are on --port only.",
)
@click.option("--identity", default="vgpu-extender", help="Name in the Lease, such as the pod's.")
@click.option(
    "--lease-duration",
    type=click.IntRange(min=3, max=300),
    default=8,
    help="Seconds after which another extender takes over from one that is silent.",
)
@click.option("--namespace", default="vgpu-system", help="Namespace of the Lease.")
@click.option("--crash-at", multiple=True, hidden=True, expose_value=False, callback=_arm)
def main(
    kubeconfig: Path | None,
    log_level: str,
    host: str,
    port: int,
    metrics_port: int | None,
    identity: str,
    lease_duration: int,
    namespace: str,
) -> None:
    """Place labelled pods on GPUs, as an extender beside its own kube-scheduler.

    Answers POST /filter, /bind and /preempt, and GET /healthz, /readyz and /metrics. Of several extenders
    the one acts whose scheduler calls; the others follow.
    """
    collecting.rarely()
    logs.setup(log_level)
    settings = extender.Settings(
        identity=f"{identity}_{secrets.token_hex(4)}",  # a Lease belongs to one process, not to a name
        namespace=namespace,
        lease_seconds=lease_duration,
    )
    path = None if kubeconfig is None else str(kubeconfig)
    try:
        uvloop.run(_serve(path, settings, host=host, port=port, metrics_port=metrics_port))
    except credentials.NoClusterError as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        raise click.ClickException(f"cannot serve on {host}:{port}: {error}") from None


async def _serve(
    kubeconfig: str | None, settings: extender.Settings, *, host: str, port: int, metrics_port: int | None
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    registry = prometheus.CollectorRegistry()
    async with client.connect(kubeconfig) as kube:
        served = extender.Extender(kube, settings, registry=registry)
        async with served.running():
            runners = [await _listen(app.create_app(served, registry), host, port)]
            if metrics_port is not None:
                runners.append(await _listen(app.create_outlook(served, registry), ANY_ADDRESS, metrics_port))
            logs.event(logger, logging.INFO, "extender serving", host=host, port=port)
            await stop.wait()
            for runner in runners:
                await runner.cleanup()
    logs.event(logger, logging.INFO, "extender stopped", identity=settings.identity)


async def _listen(application: web.Application, host: str, port: int) -> web.AppRunner:
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=GRACE_SECONDS)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    return runner


if __name__ == "__main__":
    main()
