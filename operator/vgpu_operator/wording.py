"""How messages list and count things; what they say is written where it is decided."""

from collections.abc import Collection, Iterable

LISTED = 5


def listed(things: Iterable[str], *, at_most: int = LISTED) -> str:
    """The things in order, the rest as a number: ``a, b and 3 more``."""
    ordered = sorted(things)
    shown = ", ".join(ordered[:at_most])
    rest = len(ordered) - at_most
    return f"{shown} and {rest} more" if rest > 0 else shown


def counted(number: int, noun: str) -> str:
    """The number and its noun: ``1 pod``, ``2 pods``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def named(things: Collection[str], noun: str) -> str:
    """The noun and the things: ``pod a``, ``pods a, b``."""
    return f"{noun if len(things) == 1 else noun + 's'} {listed(things)}"
