"""How generously and how slowly a claim is sized, which depends on the pool: roomy, full, or too short.

In a roomy pool slices are large for chance's sake and shrink late, in a full one sooner. Where others of the
pool lack what a claim has to spare, it is sized for what it needs this moment. No size is decided here.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """``headroom`` multiplies what is expected, ``risk`` is the part of the time that work may wait too long.

    Shares are sized for the largest expectation of ``window_seconds``. Slices shrink when together they
    serve more than asked by ``surplus``, a part of it; then they keep ``slack``, a part too. After a slice
    grew it is not shrunk for ``hold_seconds``.
    """

    headroom: float
    risk: float
    window_seconds: float
    hold_seconds: float
    surplus: float
    slack: float


ROOMY = Pace(headroom=1.1, risk=1e-3, window_seconds=30.0, hold_seconds=30.0, surplus=0.25, slack=0.05)
FULL = Pace(headroom=1.05, risk=0.01, window_seconds=10.0, hold_seconds=10.0, surplus=0.15, slack=0.0)
SHORT = Pace(headroom=1.0, risk=0.2, window_seconds=3.0, hold_seconds=3.0, surplus=0.05, slack=0.0)


def between(one: Pace, other: Pace, part: float) -> Pace:
    """From ``one`` (0) to ``other`` (1), evenly; of the risk, a power, it is the exponent that walks."""

    def mixed(low: float, high: float) -> float:
        return low + part * (high - low)

    return Pace(
        headroom=mixed(one.headroom, other.headroom),
        risk=one.risk ** (1 - part) * other.risk**part,
        window_seconds=mixed(one.window_seconds, other.window_seconds),
        hold_seconds=mixed(one.hold_seconds, other.hold_seconds),
        surplus=mixed(one.surplus, other.surplus),
        slack=mixed(one.slack, other.slack),
    )
