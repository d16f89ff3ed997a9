"""``explain``: why a claim or a pod is as it is, and what would change that; the answer comes first."""

import time
from collections.abc import Iterable

import click
from rich.console import Console

from vgpu_cli import drawing, options, output, words
from vgpu_cli.cluster import Session
from vgpu_cli.explaining import claim, pod
from vgpu_cli.faults import Fault
from vgpu_cli.occurrences import Occurrence
from vgpu_cli.options import Access
from vgpu_kube import errors

KINDS = {
    "claim": "claim",
    "claims": "claim",
    "vgpuclaim": "claim",
    "vgpuclaims": "claim",
    "vgc": "claim",
    "pod": "pod",
    "pods": "pod",
    "po": "pod",
}
EVENTS = 10

Story = claim.Story | pod.Story


def named(what: tuple[str, ...]) -> tuple[str | None, str]:
    """Kind and name of ``claim llm``, ``claim/llm`` or ``llm``. Raises UsageError."""
    parts = what[0].split("/", 1) if len(what) == 1 else [*what]
    if len(parts) == 1:
        return None, parts[0]
    if parts[0].lower() not in KINDS:
        raise click.UsageError(
            f"expected claim or pod, found {parts[0]}; as in: kubectl vgpu explain claim NAME"
        )
    return KINDS[parts[0].lower()], parts[1]


async def find(session: Session, kind: str | None, name: str) -> Story:
    """The story of what is named; without a kind a claim is looked for first. Raises Fault."""
    try:
        if kind == "pod":
            return await pod.story(session, name)
        return await claim.story(session, name)
    except errors.NotFound as error:
        if kind is None:
            return await find(session, "pod", name)
        raise Fault(f"expected {kind} {name} in namespace {session.namespace}, found none") from error


def show(story: Story, *, now: float) -> None:
    """Writes a story for people."""
    console = drawing.console()
    if isinstance(story, pod.Story):
        _show_pod(console, story, now=now)
    else:
        _show_claim(console, story, now=now)


def _show_pod(console: Console, story: pod.Story, *, now: float) -> None:
    console.print(f"pod {story.path}: {story.answer}")
    _advise(console, story.advice)
    if story.devices:
        console.print(f"GPUs on {story.node}: {', '.join(story.devices)}; slice {story.slice}")
    _section(console, "Added by vgpu-admission", story.added)
    _show_events(console, story.events, now=now)
    if story.claim is not None:
        console.print()
        _show_claim(console, story.claim, now=now)


def _show_claim(console: Console, story: claim.Story, *, now: float) -> None:
    verdict = "ready" if story.said.status == "True" else story.said.reason
    console.print(f"claim {story.path} of pool {story.pool or '(none)'}: {verdict}: {story.said.message}")
    _advise(console, story.advice if story.said.status != "True" else None)
    gpus = f" on each of {words.counted(story.devices, 'GPU')}" if story.devices > 1 else " on one GPU"
    console.print(f"each pod has {words.amounts(story.floor)} to {words.amounts(story.ceiling)}{gpus}")
    if story.quota:
        console.print(story.quota)
    if story.waiting is not None:
        _show_waiting(console, story.waiting)
    _show_conditions(console, story.conditions, now=now)
    _show_held(console, story)
    _show_decision(console, story)
    _show_events(console, story.events, now=now)


def _show_waiting(console: Console, waiting: claim.Waiting) -> None:
    _section(console, f"Why pod {waiting.pod} waits: {waiting.reason}", waiting.nodes)
    nothing = "only more GPUs, or a release by others"
    _section(console, "What would let it in, any of these", waiting.suggestions or (nothing,))
    if waiting.progress:
        _section(console, "Under way", (waiting.progress,))


def _advise(console: Console, helps: str | None) -> None:
    if helps:
        console.print(f"What helps: {helps}")


def _section(console: Console, title: str, lines: Iterable[str]) -> None:
    listed = list(lines)
    if listed:
        console.print(f"\n{title}", style="bold")
        for each in listed:
            console.print(f"  {each}")


def _show_conditions(console: Console, conditions: Iterable[claim.Condition], *, now: float) -> None:
    rows = [
        (
            each.type,
            drawing.status(each.status),
            "-" if each.since is None else words.age(now - each.since),
            each.reason,
            each.message,
        )
        for each in conditions
    ]
    if rows:
        console.print()
        console.print(drawing.table(("CONDITION", "STATUS", "SINCE", "REASON", "MESSAGE"), rows))


def _show_held(console: Console, story: claim.Story) -> None:
    rows = [
        (
            each.pod,
            each.node,
            ", ".join(each.devices),
            drawing.bar(
                story.floor.memory_bytes, each.allocated.memory_bytes, story.ceiling.memory_bytes, width=10
            ),
            words.amounts(each.allocated),
            "not confirmed yet" if each.enforced is None else words.amounts(each.enforced),
        )
        for each in story.held
    ]
    if rows:
        console.print()
        console.print(drawing.table(("POD", "NODE", "GPUS", "", "ALLOCATED", "IN FORCE"), rows))


def _show_decision(console: Console, story: claim.Story) -> None:
    if story.decision is not None:
        made = story.decision
        line = f"{made['time']}  {made['action']}: {made['reason']}: {made['message']}"
        _section(console, "Last decision of the loop", [line])


def _show_events(console: Console, events: tuple[Occurrence, ...], *, now: float) -> None:
    rows = [
        (
            words.age(now - each.at),
            "Warning" if each.warning else "Normal",
            each.reason,
            each.note if each.count == 1 else f"{each.note} ({each.count} times)",
        )
        for each in events[:EVENTS]
    ]
    if rows:
        console.print()
        console.print(drawing.table(("AGO", "TYPE", "EVENT", "MESSAGE"), rows))


@click.command()
@click.argument("what", nargs=-1, required=True, metavar="[claim|pod] NAME")
@options.output
@options.access
def explain(access: Access, form: str, what: tuple[str, ...]) -> None:
    """Say why a claim or a pod is as it is, and what would help."""
    if len(what) > 2:
        raise click.UsageError(f"expected a kind and a name, found {' '.join(what)}")
    kind, name = named(what)
    story = access.asked(lambda session: find(session, kind, name))
    if output.structured(form):
        output.emit(pod.to_json(story) if isinstance(story, pod.Story) else claim.to_json(story), form)
    else:
        show(story, now=time.time())
