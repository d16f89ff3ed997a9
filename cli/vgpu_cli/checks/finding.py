"""What a step has found, and what it has to look with."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum

from vgpu_cli import reading
from vgpu_cli.cluster import Session
from vgpu_cli.metrics import Fetch
from vgpu_kube.objects import Object


class Verdict(StrEnum):
    """How one thing is."""

    SOUND = "Sound"
    FAULT = "Fault"
    SKIPPED = "Skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One sentence about one thing; a fault has a remedy."""

    verdict: Verdict
    message: str
    remedy: str = ""


def sound(message: str) -> Finding:
    """All is well."""
    return Finding(verdict=Verdict.SOUND, message=message)


def fault(message: str, *, remedy: str) -> Finding:
    """Something is wrong, and this helps."""
    return Finding(verdict=Verdict.FAULT, message=message, remedy=remedy)


def skipped(message: str) -> Finding:
    """It could not be looked at."""
    return Finding(verdict=Verdict.SKIPPED, message=message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What steps look with: the cluster, the time, and a way to fetch a URL from this machine.

    ``fetch`` raises OSError where nothing answers. ``prometheus_url`` is what the user named, if anything.
    """

    session: Session
    now: float
    fetch: Fetch = field(repr=False)
    prometheus_url: str | None = None
    _nodes: list[Object] = field(default_factory=list, repr=False)

    async def nodes(self) -> list[Object]:
        """Every VGPUNode, read once: several steps look at them, and there may be thousands."""
        if not self._nodes:
            self._nodes.extend(await reading.nodes(self.session.cluster))
        return self._nodes


Step = Callable[[Probe], Awaitable[list[Finding]]]
