"""What every policy sees and may order; one interface for ours and all rivals.

All see the same: rates and accounts one second old, the services' latency profiles, the free parts of cards.
Orders are wishes; the cluster clamps them to what cards have.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from elasticity import profiles


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """One server as its policy sees it.

    ``used_percent`` and ``throttled`` (0 to 1) are means over the last second; ``throttled_steps`` counts its
    periods of 100 ms that saw any throttling, ``used_steps`` are their uses, up to five seconds of them.
    """

    id: str
    card: int
    share: int
    ready: bool
    asleep: bool
    lent: bool
    used_percent: float
    throttled: float
    throttled_steps: int
    used_steps: Sequence[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One service at a tick: requests per second one second ago, requests that waited then."""

    name: str
    profile: profiles.Profile
    rate: float
    queued: int
    replicas: tuple[Replica, ...]

    @property
    def serving(self) -> list[Replica]:
        """The replicas that take requests."""
        return [each for each in self.replicas if each.ready and not each.asleep]


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One GPU: what nobody holds, and how many replicas on it do not sleep."""

    free_percent: int
    free_memory_bytes: int
    awake: int


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """The pool at a tick."""

    now: float
    services: tuple[Service, ...]
    cards: tuple[Card, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class New:
    """A replica to start with this share; packed onto the fullest card that takes it, unless it names a room.

    A spread one prefers cards without its service: what it borrows there it does not take from its own.
    With a room it goes only where that much is free, on a used card if there is one, where its service has
    fewest replicas; a standby goes to a used card without its service.
    """

    share: int
    room: int | None = None
    standby: bool = False
    spread: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """What one service shall have: shares by replica id, replicas to start, remove, put to sleep and wake."""

    shares: Mapping[str, int] = field(default_factory=dict)
    start: tuple[New, ...] = ()
    remove: frozenset[str] = frozenset()
    sleep: frozenset[str] = frozenset()
    wake: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What a policy may know of a service before it begins: the load's past, and for oracles all of it."""

    name: str
    profile: profiles.Profile
    rates: tuple[float, ...]


class Policy(Protocol):
    """A scaling policy with its state; ``lends`` says whether the inner loop lends idle compute for it."""

    lends: bool
    tick_seconds: int

    def begin(self, services: Sequence[Known]) -> Mapping[str, tuple[New, ...]]:
        """The replicas that run when the load begins."""
        ...

    def decide(self, view: View) -> Mapping[str, Orders]:
        """The orders of this tick per service name; a service without any stays as it is."""
        ...
