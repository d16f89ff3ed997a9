"""What happened second by second in one run: the load, its latency, what slices held, who served.

Figures of a whole run are in ``outcome``; pictures are drawn in ``plots``.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from elasticity import cluster, servers

PART = 0.99


@dataclass(slots=True)
class Timeline:
    """One value per second in each list; GPUs are whole cards, ``p99`` is in objectives.

    ``needed`` is what the true rate takes on slices of the efficient size. ``p99`` is over the requests of
    all services that ended in the second, None where none did.
    """

    needed: list[float] = field(default_factory=list)
    allocated: list[float] = field(default_factory=list)
    used: list[float] = field(default_factory=list)
    serving: list[int] = field(default_factory=list)
    replicas: list[int] = field(default_factory=list)
    p99: list[float | None] = field(default_factory=list)
    _seen: list[int] = field(default_factory=lambda: [0] * servers.BUCKETS)

    def second(self, services: Sequence[servers.Service], pool: cluster.Cluster) -> None:
        """Note the second that just ended."""
        held = [server for card in pool.cards for _, server in card]
        self.needed.append(sum(_needed(each, len(self.needed)) for each in services))
        self.allocated.append(sum(server.share for server in held) / cluster.WHOLE)
        self.used.append(sum(server.used_second for server in held) / cluster.WHOLE)
        self.serving.append(sum(not server.asleep for server in held))
        self.replicas.append(len(held))
        self.p99.append(self._latency(services))

    def _latency(self, services: Sequence[servers.Service]) -> float | None:
        total = [sum(bucket) for bucket in zip(*(each.histogram for each in services), strict=True)]
        ended = [max(0, now - before) for now, before in zip(total, self._seen, strict=True)]
        self._seen = total
        return servers.quantile(ended, PART) if any(ended) else None


def _needed(service: servers.Service, second: int) -> float:
    curve = service.profile.curve
    rate = service.demand.rates[second]
    return rate / curve.efficient_rate * curve.efficient_percent / cluster.WHOLE
