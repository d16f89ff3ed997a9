"""What a run cost and how its requests fared: violations beside four ways to count the GPUs.

allocated: what slices hold. charged: the larger of what a slice holds and uses, per second. dominant: the
larger of its share and its part of the card's memory. occupied: cards that have a replica at all.
All in GPU-hours per hour, which is the mean number of GPUs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from elasticity import cluster, servers


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One run. ``violations`` is percent of requests later than their objective, averaged over services.

    ``p99`` is the worst service's, in objectives. ``changes`` are resizes per slice and hour, ``flips``
    slices shrunk and grown again within a minute, ``starts`` replicas started per hour.
    """

    violations: float
    worst: float
    allocated: float
    charged: float
    dominant: float
    occupied: float
    used: float
    replicas: float
    p99: float
    changes: float
    flips: int
    starts: float
    unplaced: int
    requests: int


class Meter:
    """Adds up the seconds."""

    def __init__(self) -> None:
        self._allocated = self._charged = self._dominant = self._used = 0.0
        self._occupied = self._replicas = self._seconds = 0

    def second(self, pool: cluster.Cluster) -> None:
        """Account the second that just ended."""
        self._seconds += 1
        for held in pool.cards:
            self._occupied += bool(held)
            self._replicas += len(held)
            for _, server in held:
                used = server.used_second
                memory = 100 * server.memory_bytes / cluster.MEMORY_BYTES
                self._allocated += server.share
                self._used += used
                self._charged += max(server.share, used)
                self._dominant += max(server.share, memory)

    def outcome(self, services: Sequence[servers.Service], pool: cluster.Cluster) -> Outcome:
        """The whole run in figures."""
        violations = [100 * each.late / max(1, each.served) for each in services]
        percent_seconds = 100 * self._seconds
        slice_hours = self._replicas / 3600
        return Outcome(
            violations=sum(violations) / len(violations),
            worst=max(violations),
            allocated=self._allocated / percent_seconds,
            charged=self._charged / percent_seconds,
            dominant=self._dominant / percent_seconds,
            occupied=self._occupied / self._seconds,
            used=self._used / percent_seconds,
            replicas=self._replicas / self._seconds,
            p99=max(each.percentile(0.99) for each in services),
            changes=pool.changes / slice_hours,
            flips=pool.flips,
            starts=pool.starts / (self._seconds / 3600),
            unplaced=pool.unplaced,
            requests=sum(each.served for each in services),
        )
