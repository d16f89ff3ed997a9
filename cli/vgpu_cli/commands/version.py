"""``version``: which build this is, which Kubernetes answers, and which images of ours run there."""

import importlib.metadata
from typing import Any

import click
import orjson

from vgpu.api import names
from vgpu_cli import drawing, options, output, reading
from vgpu_cli.cluster import Session
from vgpu_cli.options import Access
from vgpu_kube import errors
from vgpu_kube.resources import DEPLOYMENTS


def of_client() -> dict[str, Any]:
    """What this command itself is."""
    return {"version": importlib.metadata.version("elastic-vgpu"), "api": names.API_VERSION}


async def of_cluster(session: Session) -> dict[str, Any]:
    """What answers, and the images of our Deployments as far as we may read them."""
    server = orjson.loads(await session.cluster.text("/version"))
    try:
        deployments = (await session.cluster.list(DEPLOYMENTS, reading.SYSTEM)).items
    except errors.Forbidden:
        deployments = []
    return {
        "kubernetes": server["gitVersion"],
        "images": {
            each["metadata"]["name"]: sorted(
                {c["image"] for c in each["spec"]["template"]["spec"]["containers"]}
            )
            for each in deployments
        },
    }


@click.command()
@click.option("--client", "only_client", is_flag=True, help="Ask no cluster.")
@options.output
@options.access
def version(access: Access, form: str, *, only_client: bool) -> None:
    """Show the version of this command and what runs in the cluster."""
    client, server = of_client(), None if only_client else access.asked(of_cluster)
    if output.structured(form):
        output.emit({"client": client, "server": server}, form)
        return
    click.echo(f"kubectl-vgpu {client['version']}, {client['api']}")
    if server is not None:
        click.echo(f"Kubernetes {server['kubernetes']}")
        rows = [(name, " ".join(images)) for name, images in server["images"].items()]
        if rows:
            drawing.console().print(drawing.table(("DEPLOYMENT", "IMAGES"), rows))
