"""A made-up latency profile in the form of the real ones: batches of 1 to 8 on 10 to 100 % of a GPU."""

from pathlib import Path

from elasticity import arrivals, policy, profiles

FIXED_SECONDS, PER_REQUEST_SECONDS = 0.010, 0.002
SHARES = (10, 20, 30, 40, 50, 60, 70, 80, 90, 100)
ENOUGH_PERCENT = 40
"""A larger share makes no batch faster."""


def latency(batch: int, share: int) -> float:
    """Seconds that a batch takes on this share."""
    whole = FIXED_SECONDS + PER_REQUEST_SECONDS * batch
    return whole * max(1.0, ENOUGH_PERCENT / share)


def written(folder: Path, name: str = "model") -> Path:
    """A profile file in the folder."""
    rows = [
        f"{batch},{share},{latency(batch, share)},{batch / latency(batch, share)}"
        for batch in (1, 2, 4, 8)
        for share in SHARES
    ]
    path = folder / f"bs_sm_{name}.csv"
    path.write_text("\n".join(rows) + "\n")
    return path


def profile(folder: Path, name: str = "model") -> profiles.Profile:
    """The profile as the simulator knows it."""
    return profiles.read(written(folder, name))


def demand(of: profiles.Profile, times: list[float], *, seconds: int) -> arrivals.Demand:
    """A service that is asked at these times."""
    rates = [sum(second <= time < second + 1 for time in times) for second in range(seconds)]
    return arrivals.Demand(profile=of, rates=tuple(map(float, rates)), times=tuple(times))


def replica(id_: str = "model-1", *, share: int, **changes: object) -> policy.Replica:
    """A ready replica on card 0 that did nothing lately."""
    facts: dict[str, object] = {
        "card": 0,
        "ready": True,
        "asleep": False,
        "lent": False,
        "used_percent": 0.0,
        "throttled": 0.0,
        "throttled_steps": 0,
        "used_steps": (0.0,) * 50,
    }
    return policy.Replica(id=id_, share=share, **{**facts, **changes})  # type: ignore[arg-type]  # named above


def view(
    of: profiles.Profile, *replicas: policy.Replica, rate: float, now: float = 100.0, free: int = 100
) -> policy.View:
    """One service on two cards of which so much is free."""
    service = policy.Service(name="model", profile=of, rate=rate, queued=0, replicas=replicas)
    card = policy.Card(free_percent=free, free_memory_bytes=80 * 1024**3, awake=1)
    return policy.View(now=now, services=(service,), cards=(card, card))
