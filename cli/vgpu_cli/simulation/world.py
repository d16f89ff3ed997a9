"""One service on slices: work arrives, waits in one queue, and is served as fast as the slices' shares allow.

Assumed, and better than life: every slice has a device whose free part is all its own, a resize takes no
time, work is a fluid that any replica may serve, and a unit costs the same compute at any load. Not lending,
nor neighbours, nor memory is played. What is learned here is how settings react, not how a model performs.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from vgpu import values
from vgpu.elasticity import decision, facts, settings, state, work


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A claim's settings and what is assumed of its model.

    ``start_seconds`` is how long a replica takes to begin to serve, ``room_percent`` what each device has
    free beyond the floor. ``scales`` tells whether the loop may change the number of replicas.
    """

    curve: work.Curve
    requests: values.Amounts
    limits: values.Amounts
    replicas: int = 1
    scales: bool = False
    min_replicas: int = 1
    max_replicas: int = 1
    start_seconds: int = 30
    room_percent: int = 100
    idle_seconds: float | None = None
    interval: int = 5
    rule: settings.Settings = settings.DEFAULT


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One second: what came, what was there to serve it, what waited at its end, and for how long."""

    second: int
    rate: float
    replicas: int
    ready: int
    percent: int
    capacity: float
    queued: float
    wait: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A decision that changed something."""

    second: int
    action: str
    reason: str
    replicas: int
    percent: int
    message: str


@dataclass(slots=True, kw_only=True)
class _Replica:
    id: str
    ready_at: int
    percent: int


@dataclass(slots=True, kw_only=True)
class World:
    """A run in progress; ``play`` yields every second, ``made`` holds the decisions so far."""

    service: Service
    made: list[Made] = field(default_factory=list)
    _replicas: list[_Replica] = field(default_factory=list)
    _memory: state.State = state.EMPTY
    _waiting: deque[tuple[int, float]] = field(default_factory=deque)  # since when, how much
    _queued: float = 0.0
    _born: int = 0

    def play(self, rates: Sequence[float]) -> Iterator[Moment]:
        """Every second of the load, in order."""
        for _ in range(self.service.replicas):
            self._add(ready_at=0)
        for second, rate in enumerate(rates):
            if second and second % self.service.interval == 0:
                self._decide(second, rates)
            yield self._serve(second, rate)

    def _serve(self, second: int, rate: float) -> Moment:
        ready = [each for each in self._replicas if each.ready_at <= second]
        capacity = sum(self.service.curve.rate_at(each.percent) for each in ready)
        self._waiting.append((second, rate))
        self._queued += rate
        self._work_off(capacity)
        return Moment(
            second=second,
            rate=rate,
            replicas=len(self._replicas),
            ready=len(ready),
            percent=sum(each.percent for each in self._replicas),
            capacity=capacity,
            queued=self._queued,
            wait=second - self._waiting[0][0] if self._waiting else 0,
        )

    def _work_off(self, capacity: float) -> None:
        """Serves what has waited longest."""
        self._queued = max(0.0, self._queued - capacity)
        while self._waiting and capacity >= self._waiting[0][1]:
            capacity -= self._waiting.popleft()[1]
        if self._waiting and capacity > 0:
            since, amount = self._waiting.popleft()
            self._waiting.appendleft((since, amount - capacity))
        if not self._waiting:
            self._queued = 0.0  # and not the rounding of many sums

    def _decide(self, second: int, rates: Sequence[float]) -> None:
        decided, self._memory = decision.decide(
            self._facts(second, rates), self._memory, now=float(second), rule=self.service.rule
        )
        for each in self._replicas:
            if each.id in decided.allocations:
                each.percent = decided.allocations[each.id].compute_percent
        if self.service.scales and decided.replicas is not None:
            self._scale(decided.replicas, second)
        if decided.action is not decision.Action.HOLD:
            self.made.append(self._told(second, decided))

    def _facts(self, second: int, rates: Sequence[float]) -> facts.ClaimFacts:
        first = max(0, second - self.service.interval)
        service = self.service
        free = sum(max(0, service.limits.compute_percent - each.percent) for each in self._replicas)
        return facts.ClaimFacts(
            slices=tuple(self._slice(each, second) for each in self._replicas),
            curve=service.curve,
            pool=facts.PoolFacts(free=1.0 if free or service.scales else 0.0, placeable=service.max_replicas),
            samples=tuple(facts.Sample(at=float(at + 1), rate=rates[at]) for at in range(first, second)),
            queued=self._queued,
            batch=max(1.0, service.curve.efficient_rate),
            replicas=len(self._replicas) if service.scales else None,
            min_replicas=service.min_replicas,
            max_replicas=service.max_replicas,
            idle_seconds=service.idle_seconds,
            waiting=self._queued,
        )

    def _slice(self, replica: _Replica, second: int) -> facts.SliceFacts:
        service = self.service
        memory = service.requests.memory_bytes
        grown = replica.percent - service.requests.compute_percent
        return facts.SliceFacts(
            id=replica.id,
            requests=values.Amounts(memory_bytes=memory, compute_percent=service.requests.compute_percent),
            allocated=values.Amounts(memory_bytes=memory, compute_percent=replica.percent),
            limits=values.Amounts(memory_bytes=memory, compute_percent=service.limits.compute_percent),
            room=values.Amounts(memory_bytes=0, compute_percent=max(0, service.room_percent - grown)),
            device_uuids=(replica.id,),
            ready=replica.ready_at <= second,
        )

    def _scale(self, wished: int, second: int) -> None:
        while len(self._replicas) < wished:
            self._add(ready_at=second + self.service.start_seconds)
        del self._replicas[wished:]  # the youngest first, as a ReplicaSet does with equals

    def _add(self, *, ready_at: int) -> None:
        self._born += 1
        floor = self.service.requests.compute_percent
        self._replicas.append(_Replica(id=f"replica-{self._born}", ready_at=ready_at, percent=floor))

    def _told(self, second: int, decided: decision.Decision) -> Made:
        return Made(
            second=second,
            action=decided.action.value,
            reason=decided.reason.value,
            replicas=len(self._replicas),
            percent=sum(each.percent for each in self._replicas),
            message=decided.message or "; ".join(decided.clamps),
        )
