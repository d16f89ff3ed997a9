"""``report``: pools, cards, claims and decisions on one page that needs nothing but a browser."""

import time
from pathlib import Path

import click

from vgpu_cli import options
from vgpu_cli.faults import Fault
from vgpu_cli.options import Access
from vgpu_cli.reporting import facts, page


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True), default="vgpu-report.html")
@options.everywhere
@options.access
def report(access: Access, file: str) -> None:
    """Write one self-contained HTML page to FILE (- is standard output).

    Claims are those of one namespace, or of all with -A.
    """
    found = access.asked(lambda session: facts.gather(session, access.scope(session), now=time.time()))
    if file == "-":
        click.echo(page.html(found), nl=False)
        return
    try:
        Path(file).write_text(page.html(found), encoding="utf-8")
    except OSError as error:
        raise Fault(f"expected a file that can be written, found: {error}") from error
    click.echo(f"written to {file}: open it in a browser")
