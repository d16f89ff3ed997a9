"""``vgpu-agent``: the command line, and the process around the agent and its sockets."""

import asyncio
import importlib.metadata
import logging
import signal
import sys
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import click

from vgpu.api import names
from vgpu_agent import agent, mounts, nvml
from vgpu_agent.csi import server
from vgpu_agent.csi.service import WAIT_SECONDS, Service
from vgpu_agent.home import Home
from vgpu_kube import client, credentials, health, logs
from vgpu_shim import library

logger = logging.getLogger("vgpu_agent")

DEFAULT_ROOT = Path("/run/vgpu-agent")
DEFAULT_KUBELET = Path("/var/lib/kubelet")
_PATH = click.Path(path_type=Path)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Everything the command line says."""

    node: str
    kubeconfig: str | None
    root: Path
    kubelet_root: Path
    nvml_library: Path | None
    links: bool
    publish_wait_seconds: float
    hami_metrics: bool
    host: str
    port: int

    @property
    def socket(self) -> Path:
        """Where the kubelet calls."""
        return self.kubelet_root / "plugins" / names.CSI_DRIVER / "csi.sock"

    @property
    def registration(self) -> Path:
        """Where the kubelet looks for plugins."""
        return self.kubelet_root / "plugins_registry" / f"{names.CSI_DRIVER}-reg.sock"


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--node", required=True, help="The name of this Node.")
@click.option(
    "--kubeconfig",
    type=click.Path(dir_okay=False),
    help="How to reach the cluster; without it the pod's service account, then $KUBECONFIG.",
)
@click.option("--log-level", type=click.Choice(logs.LEVELS), default="info", help="The least that is logged.")
@click.option(
    "--root", type=_PATH, default=DEFAULT_ROOT, help="Directory on a tmpfs for pages and library versions."
)
@click.option("--kubelet-root", type=_PATH, default=DEFAULT_KUBELET, help="The kubelet's --root-dir.")
@click.option("--nvml-library", type=_PATH, help="Another libnvidia-ml.so.1, such as a simulated one.")
@click.option(
    "--links", is_flag=True, help="Show directories by symbolic links: pods are processes, no root is needed."
)
@click.option(
    "--publish-wait-seconds",
    type=click.FloatRange(0, 110),
    default=WAIT_SECONDS,
    help="How long a pod's volume waits for its slice in one call; the kubelet asks again.",
)
@click.option(
    "--port", type=click.IntRange(1, 65535), default=9414, help="Port of /healthz, /readyz, /metrics."
)
@click.option("--hami-metrics", is_flag=True, help="Export also under the names of HAMi's monitor.")
@click.option(
    "--host",
    default="0.0.0.0",  # noqa: S104 -- kubelet and Prometheus come from other addresses
    help="Address of that port.",
)
def main(log_level: str, **options: object) -> None:
    """Turn this node's slices into limits that containers cannot start without.

    Run one per GPU node, as root. It may be killed at any time: limits stay in force, new pods wait.
    """
    logs.setup(log_level)
    try:
        asyncio.run(_serve(Options(**options)))  # type: ignore[arg-type]  # click has checked each
    except (ValueError, OSError, credentials.NoClusterError, library.LibraryNotFoundError) as error:
        sys.exit(f"vgpu-agent: {error}")


async def _serve(options: Options) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    async with AsyncExitStack() as stack:
        kube = await stack.enter_async_context(client.connect(options.kubeconfig))
        shown = mounts.LinkMounts() if options.links else mounts.KernelMounts()
        home = Home(options.root, shown, library.find())
        running = agent.Agent(
            kube,
            node_name=options.node,
            backend=nvml.NVML(options.nvml_library),
            home=home,
            hami_names=options.hami_metrics,
        )
        app = health.create_app(running.registry, not_ready=lambda: running.not_ready)
        runner = await health.serve(app, host=options.host, port=options.port)
        stack.push_async_callback(runner.cleanup)
        await _until(stopping, running, options)
    logs.event(logger, logging.INFO, "stopped")


async def _until(stopping: asyncio.Event, running: agent.Agent, options: Options) -> None:
    """Runs the agent and its sockets until asked to stop; raises what ended it before."""
    work = asyncio.create_task(running.run())
    sockets = asyncio.create_task(_sockets(running, options))
    stop = asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait([work, sockets, stop], return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (sockets, work, stop):  # the door closes first
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def _sockets(running: agent.Agent, options: Options) -> None:
    """Serves the kubelet once the agent is ready, until cancelled."""
    await running.ready.wait()
    async with server.serving(
        _service(running, options),
        driver=names.CSI_DRIVER,
        socket=options.socket,
        registration=options.registration,
    ):
        logs.event(logger, logging.INFO, "ready", node=options.node)
        await asyncio.Event().wait()


def _service(running: agent.Agent, options: Options) -> Service:
    return Service(
        running.home,
        running,
        running.changes,
        node_name=options.node,
        driver=names.CSI_DRIVER,
        version=importlib.metadata.version("elastic-vgpu"),
        wait_seconds=options.publish_wait_seconds,
        ready=lambda: running.not_ready is None,
    )


if __name__ == "__main__":
    main()
