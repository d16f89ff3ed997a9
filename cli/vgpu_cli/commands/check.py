"""``check``: is the platform whole, step by step, with a remedy where it is not. Ends with 1 at a fault."""

import time
from typing import Any

import click

from vgpu_cli import drawing, faults, metrics, options, output
from vgpu_cli.checks import steps
from vgpu_cli.checks.finding import Finding, Probe, Verdict
from vgpu_cli.cluster import Session
from vgpu_cli.options import Access

_MARKS = {
    Verdict.SOUND: ("ok", "green"),
    Verdict.FAULT: ("FAULT", "red"),
    Verdict.SKIPPED: ("skip", "yellow"),
}


async def carried_out(session: Session, *, prometheus_url: str | None, loud: bool) -> list[dict[str, Any]]:
    """Every finding as JSON; written for people as it comes where ``loud``."""
    probe = Probe(session=session, now=time.time(), fetch=metrics.fetch, prometheus_url=prometheus_url)
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
    """Look at every part of the platform, and name what is wrong and the remedy.

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
