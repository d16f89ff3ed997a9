"""What the page shows, read once."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from vgpu.api import timestamps
from vgpu_cli import occurrences, picture, reading
from vgpu_cli.cluster import Session
from vgpu_kube import errors
from vgpu_kube.objects import Object
from vgpu_kube.resources import EVENTS

COMPONENT = "vgpu-operator"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One thing that was done or said about a claim, at a time in seconds since the epoch."""

    at: float
    claim: str
    action: str
    message: str
    warning: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """A cluster at one moment; ``decks`` is None where VGPUNodes may not be read."""

    at: float
    pools: tuple[Object, ...]
    claims: tuple[Object, ...]
    decks: tuple[picture.Deck, ...] | None
    decisions: tuple[Decision, ...]


async def gather(session: Session, scope: str | None, *, now: float) -> Facts:
    """The facts of a namespace's claims (None: of all) and of every pool."""
    pools, claims = await reading.pools_and_claims(session.cluster, scope)
    decks, events = await asyncio.gather(_decks(session, pools), _events(session, scope))
    return Facts(
        at=now,
        pools=tuple(pools),
        claims=tuple(claims),
        decks=decks,
        decisions=tuple(decisions(claims, events)),
    )


async def _decks(session: Session, pools: list[Object]) -> tuple[picture.Deck, ...] | None:
    try:
        return tuple(picture.decks(pools, await reading.nodes(session.cluster)))
    except errors.Forbidden:
        return None


async def _events(session: Session, scope: str | None) -> list[occurrences.Occurrence]:
    try:
        found = (await session.cluster.list(EVENTS, scope)).items
    except errors.Forbidden:
        return []
    ours = (each for each in found if each.get("reportingController") == COMPONENT)
    return occurrences.newest_first(ours)


def decisions(claims: Iterable[Object], events: Iterable[occurrences.Occurrence]) -> list[Decision]:
    """Events about the claims and the last decision of each, the oldest first."""
    known = {reading.path(each): each for each in claims}
    found = [
        Decision(
            at=each.at,
            claim=f"{each.namespace}/{each.name}",
            action=each.reason,
            message=each.note,
            warning=each.warning,
        )
        for each in events
        if f"{each.namespace}/{each.name}" in known
    ]
    for path, claim in known.items():
        if last := (claim.get("status") or {}).get("lastDecision"):
            at = timestamps.parse_time(last["time"])
            found.append(
                Decision(at=at, claim=path, action=last["action"], message=last["message"], warning=False)
            )
    return sorted(found, key=lambda each: (each.at, each.claim))
