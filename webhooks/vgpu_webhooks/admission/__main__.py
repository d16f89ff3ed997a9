"""The command line of the admission webhooks: reads options, wires the parts, serves until told to stop."""

import asyncio
import sys
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import click
import uvloop
from prometheus_client import CollectorRegistry

from vgpu_kube import client, collecting, crash, logs
from vgpu_kube.credentials import NoClusterError
from vgpu_webhooks.admission import app, server, view
from vgpu_webhooks.admission.certificates import CertificateError, Certificates
from vgpu_webhooks.admission.metrics import Metrics

ANY_ADDRESS = "0.0.0.0"  # noqa: S104 - the API server calls from outside of the pod


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Where to listen, and which cluster to answer for."""

    kubeconfig: str | None
    host: str
    port: int
    certificate: Path
    key: Path


def _arm(_: click.Context, __: click.Parameter, spec: str | None) -> None:
    if spec is not None:
        try:
            crash.arm(spec)
        except ValueError as error:
            raise click.BadParameter(str(error)) from None


@click.command(context_settings={"show_default": True})
@click.option("--kubeconfig", metavar="FILE", help="Cluster to answer for; without it the one we run in.")
@click.option(
    "--log-level", type=click.Choice(logs.LEVELS), default="info", help="Least level that is logged."
)
@click.option("--host", default=ANY_ADDRESS, metavar="ADDRESS", help="Address to listen on.")
@click.option("--port", type=click.IntRange(1, 65535), default=8443, help="Port to listen on, HTTPS.")
@click.option(
    "--cert",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE",
    help="Certificate chain, PEM; read again when it changes.",
)
@click.option(
    "--key", type=click.Path(path_type=Path), required=True, metavar="FILE", help="Its private key, PEM."
)
@click.option(
    "--crash-at",
    metavar="NAME[:N]",
    hidden=True,
    expose_value=False,
    callback=_arm,
    help="Dies at a named point, for tests.",
)
def main(kubeconfig: str | None, log_level: str, host: str, port: int, cert: Path, key: Path) -> None:
    """Answer the API server's admission reviews of pods, claims and pools.

    Serves /healthz, /readyz and /metrics beside the webhooks. Ends on SIGTERM after the requests in flight.
    """
    collecting.rarely()
    logs.setup(log_level)
    options = Options(kubeconfig=kubeconfig, host=host, port=port, certificate=cert, key=key)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(options))
    except (CertificateError, NoClusterError, OSError) as error:
        sys.exit(f"vgpu-admission: {error}")


async def serve(options: Options) -> None:
    """Serves until a signal comes."""
    certificates = Certificates(options.certificate, options.key)
    async with AsyncExitStack() as stack:
        kube = await stack.enter_async_context(client.connect(options.kubeconfig))
        followed = await stack.enter_async_context(view.follow(kube))
        metrics = Metrics(CollectorRegistry())
        metrics.show_certificate(lambda: certificates.expires_at)
        application = app.create_app(view=followed, metrics=metrics)
        await stack.enter_async_context(
            server.served(application, context=certificates.context, host=options.host, port=options.port)
        )
        fresh = asyncio.create_task(certificates.keep_fresh())
        await server.until_stopped()
        fresh.cancel()
        with suppress(asyncio.CancelledError):
            await fresh


if __name__ == "__main__":
    main()
