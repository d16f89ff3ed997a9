"""``check``: is the platform whole, step by step, with a remedy where it is not. Ends with 1 at a fault."""

import asyncio
import time
from typing import Any

import click

from vgpu_cli import drawing, faults, options, output
from vgpu_cli.checks import steps
from vgpu_cli.checks.finding import Finding, Probe, Verdict
from vgpu_cli.cluster import Session
from vgpu_cli.options import Access

SECONDS = 5.0
"""How long something outside the cluster may take to answer."""

_MARKS = {
    Verdict.SOUND: ("ok", "green"),
    Verdict.FAULT: ("FAULT", "red"),
    Verdict.SKIPPED: ("skip", "yellow"),
}


async def fetch(url: str) -> str:
    """What stands at a URL that this machine reaches by itself. Raises OSError."""
    return await asyncio.to_thread(_fetched, url)


def _fetched(url: str) -> str:
    import urllib.request

    if not url.startswith(("http://", "https://")):
        raise OSError(f"expected http or https, found {url}")
    with urllib.request.urlopen(url, timeout=SECONDS) as answer:  # noqa: S310 -- the scheme is checked above
        content: bytes = answer.read()
    return content.decode(errors="replace")


async def carried_out(session: Session, *, prometheus_url: str | None, loud: bool) -> list[dict[str, Any]]:
    """Every finding as JSON; written for people as it comes where ``loud``."""
    probe = Probe(session=session, now=time.time(), fetch=fetch, prometheus_url=prometheus_url)
    found = []
    async for name, findings in steps.run(probe):
        for each in findings:
            found.append(to_json(name, each))
            if loud:
                show(name, each)
    return found


def to_json(step: str, finding: Finding) -> dict[str, Any]:
    """One finding for programs."""
    remedy = finding.remedy or None
    return {"step": step, "verdict": finding.verdict.value, "message": finding.message, "remedy": remedy}


def show(step: str, finding: Finding) -> None:
    """Writes one finding for people."""
    console = drawing.console()
    word, style = _MARKS[finding.verdict]
    console.print(f"{word:<6}", style=style, end="")
    console.print(f"{step:<13} {finding.message}")
    if finding.remedy:
        console.print(f"{'':<19} -> {finding.remedy}", style="bold")


@click.command()
@click.option(
    "--prometheus-url", metavar="URL", help="Where Prometheus is; without it where the operator looks."
)
@options.output
@options.access
def check(access: Access, form: str, prometheus_url: str | None) -> None:
    """Look at every part of the platform and name what is wrong with it, and the remedy.

    A claim is shown to the webhooks in the namespace of -n, and not stored.
    """
    loud = not output.structured(form)
    found = access.asked(lambda session: carried_out(session, prometheus_url=prometheus_url, loud=loud))
    if not loud:
        output.emit(found, form)
    count = sum(each["verdict"] == Verdict.FAULT for each in found)
    if loud:
        click.echo(f"{count} {'fault' if count == 1 else 'faults'} found" if count else "no fault found")
    if count:
        click.get_current_context().exit(faults.FOUND)
