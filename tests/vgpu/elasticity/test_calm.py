"""How the loop behaves over time: quick after a step, quiet under steady load."""

import random
from dataclasses import dataclass, field, replace

from builders import amounts
from vgpu.elasticity import decision, facts, state, work

CURVE = work.curve([(10, 50.0), (20, 150.0), (30, 300.0), (50, 420.0), (100, 600.0)], floor_percent=5)


@dataclass(kw_only=True)
class Claim:
    """One claim that gets what it decides, a tick after its samples."""

    shares: list[int]
    room: int = 70
    memory: state.State = state.EMPTY
    changes: list[tuple[float, int]] = field(default_factory=list)
    wished: int = 0

    def tick(self, now: float, rates: list[float]) -> None:
        samples = tuple(facts.Sample(at=now - len(rates) + i, rate=rate) for i, rate in enumerate(rates))
        decided, self.memory = decision.decide(self._facts(samples), self.memory, now=now)
        self.wished = decided.replicas or 0
        for i, share in enumerate(self.shares):
            wished = decided.allocations.get(str(i))
            if wished is not None and wished.compute_percent != share:
                self.changes.append((now, wished.compute_percent - share))
                self.shares[i] = wished.compute_percent

    def _facts(self, samples: tuple[facts.Sample, ...]) -> facts.ClaimFacts:
        return facts.ClaimFacts(
            slices=tuple(self._slice(i) for i in range(len(self.shares))),
            curve=CURVE,
            pool=facts.PoolFacts(free=0.5, placeable=4),
            samples=samples,
            replicas=len(self.shares),
            max_replicas=8,
        )

    def _slice(self, i: int) -> facts.SliceFacts:
        return facts.SliceFacts(
            id=str(i),
            requests=amounts(4, 5),
            allocated=amounts(4, self.shares[i]),
            limits=amounts(8, 100),
            room=amounts(0, self.room),
            device_uuids=(f"GPU-{i}",),
        )


def test_the_first_growth_comes_within_five_seconds_of_a_step_and_the_first_replica_within_ten() -> None:
    claim = Claim(shares=[20])
    for second in range(60):
        claim.tick(float(second), [100.0])
    claim.changes.clear()

    replica_at = None
    for second in range(60, 75):
        claim.tick(float(second), [800.0])
        if replica_at is None and claim.wished > 1:
            replica_at = second

    assert claim.changes[0][0] - 60 <= 5
    assert claim.changes[0][1] > 0
    assert replica_at is not None
    assert replica_at - 60 <= 10


def test_steady_load_changes_a_slice_rarely_and_never_down_and_up_within_a_minute() -> None:
    draw = random.Random(7)
    claim = Claim(shares=[30, 30])
    hours = 6

    for tick in range(hours * 720):  # every five seconds
        claim.tick(5.0 * tick, [draw.gauss(400.0, 20.0) for _ in range(5)])

    flips = [
        second
        for (first, down), (second, up) in zip(claim.changes, claim.changes[1:], strict=False)
        if down < 0 < up and second - first < 60
    ]
    assert not flips
    assert len(claim.changes) <= 4 * hours * len(claim.shares)


def test_a_restarted_loop_decides_the_same_from_the_samples_of_the_store() -> None:
    draw = random.Random(3)
    rates = [draw.gauss(300.0, 15.0) for _ in range(60)]
    old, new = Claim(shares=[30]), Claim(shares=[30])
    for second, rate in enumerate(rates):
        old.tick(float(second), [rate])
    shares = list(old.shares)

    new.shares = list(shares)
    new.tick(59.0, rates)
    old.memory = replace(old.memory, expected=())
    old.tick(60.0, [rates[-1]])

    assert abs(new.shares[0] - old.shares[0]) <= 0.1 * shares[0] + 1
