"""Who waits for room, and what has been found out for each: shared by those who judge, act and tell."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from vgpu import values
from vgpu.placement import choice
from vgpu.room import changes
from vgpu_kube.objects import Key
from vgpu_operator import homes


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """The oldest waiting pod of a claim: what it asks, also of its node, and why it has no place.

    One that is not ``alone`` starts together with others: room for it would not be enough, and none is made.
    """

    claim: Key
    request: values.Request
    home: homes.Home
    created_at: float
    refused: choice.NoFit | values.Refusal
    alone: bool = True

    @property
    def order(self) -> tuple[int, float, Key]:
        """High priorities first, then those who wait longest."""
        return -self.request.priority, self.created_at, self.claim


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What would let a wish in, the cheapest first, and what is being done about it."""

    suggestions: tuple[changes.Suggestion, ...] = ()
    progress: str = ""


@dataclass(slots=True)
class Wishes:
    """All wishes by claim, and what was found for them; ``on_wish`` hears of pools with new ones."""

    on_wish: Callable[[str], None]
    _wishes: dict[Key, Wish] = field(default_factory=dict)
    _findings: dict[Key, Finding] = field(default_factory=dict)

    def put(self, wish: Wish) -> None:
        """A pod waits; what was found for another pod of its claim, or another size, is forgotten."""
        known = self._wishes.get(wish.claim)
        if known is None or known.request != wish.request:
            self._findings.pop(wish.claim, None)
        self._wishes[wish.claim] = wish
        if wish.claim not in self._findings:
            self.on_wish(wish.request.pool_name)

    def drop(self, claim: Key) -> None:
        """No pod of the claim waits for room."""
        self._wishes.pop(claim, None)
        self._findings.pop(claim, None)

    def of(self, pool: str) -> list[Wish]:
        """Those that room of a pool can be made for, in the order in which they are served."""
        mine = (wish for wish in self._wishes.values() if wish.alone and wish.request.pool_name == pool)
        return sorted(mine, key=lambda wish: wish.order)

    def explained(self, claim: Key) -> bool:
        """Whether it has been found out what would help a claim."""
        return claim in self._findings

    def finding(self, claim: Key) -> Finding:
        """What is known to help a claim; nothing until it has been looked for."""
        return self._findings.get(claim, Finding())

    def find(self, claim: Key, finding: Finding) -> bool:
        """Remembers a finding; whether it is news."""
        if claim not in self._wishes or self._findings.get(claim) == finding:
            return False
        self._findings[claim] = finding
        return True

    def __iter__(self) -> Iterator[Wish]:
        """All wishes, in no order."""
        return iter(self._wishes.values())

    def __contains__(self, claim: Key) -> bool:
        """Whether a pod of the claim waits for room."""
        return claim in self._wishes
