"""Batching servers of one service: they take waiting requests from one queue and compute them.

Assumed for every policy alike: one queue per service (an ideal balancer), the fastest idle server first, a
batch as large as the objective permits on the present share, the largest possible once requests are late.
Which share a server has is decided elsewhere.
"""

import math
from bisect import bisect_left, bisect_right

from elasticity import arrivals
from vgpu import lending

NEVER = math.inf
STEP = 0.1
"""Seconds between two looks of the inner loop; shares change only then."""

BUCKETS = 60
BUCKETS_PER_OCTAVE = 4
FIRST_BUCKET = 2.0**-8
"""Latencies over their objective are counted in buckets of a quarter octave, for the percentile."""


class Server:
    """One replica: its slice, and the batch it computes. Shares are percent of one GPU, times seconds."""

    __slots__ = (
        "asleep", "before", "card", "first", "force", "free_at", "grown_at", "id", "last",
        "memory_bytes", "ready_at", "share", "shrunk_at", "size", "started", "throttled",
        "throttled_second", "throttled_steps", "used", "used_second", "used_steps",
    )  # fmt: skip

    def __init__(self, id_: str, *, card: int, share: int, memory_bytes: int, ready_at: float) -> None:
        self.id, self.card, self.share, self.memory_bytes, self.ready_at = (
            id_,
            card,
            share,
            memory_bytes,
            ready_at,
        )
        self.force = share
        self.asleep = False
        self.before: lending.Share | None = None
        self.free_at = ready_at
        self.started = self.used = self.throttled = self.used_second = self.throttled_second = 0.0
        self.first = self.last = self.size = 0
        self.used_steps: list[float] = []
        self.throttled_steps = 0
        self.grown_at = self.shrunk_at = -NEVER


class Service:
    """The queue and the servers of one service, and how its requests fared."""

    def __init__(self, name: str, demand: arrivals.Demand) -> None:
        self.name, self.demand, self.profile = name, demand, demand.profile
        self.times = [*demand.times, NEVER]
        self.head = 0
        self.servers: list[Server] = []
        self.served = self.late = 0
        self.histogram = [0] * BUCKETS

    def queued(self, now: float) -> int:
        """Requests that wait."""
        return max(0, bisect_right(self.times, now, self.head) - self.head)

    def arrived(self, begin: float, end: float) -> int:
        """Requests that came in between."""
        return bisect_left(self.times, end) - bisect_left(self.times, begin)

    def advance(self, begin: float, end: float) -> None:  # noqa: C901 - the hot loop, kept in one piece
        """Compute until ``end``, with the shares in force."""
        awake = [each for each in self.servers if each.ready_at < end and not each.asleep]
        awake.sort(key=lambda each: -each.force)
        for each in awake:
            if each.started < begin:
                each.started = begin
        times, latency, most, objective = (
            self.times,
            self.profile.latency,
            self.profile.most,
            self.profile.objective,
        )
        head, largest = self.head, self.profile.max_batch
        while True:
            first, start, server = times[head], end, None
            for each in awake:
                free = each.free_at if each.free_at > first else first
                if free < start:
                    start, server = free, each
            if server is None:
                break
            if server.size:
                self._settle(server, server.free_at)
            force = server.force
            cap = largest if start - first > objective / 2 else most[force]
            last = bisect_right(times, start, head, min(head + cap, len(times) - 1))
            server.first, server.last, server.size, server.started = head, last, last - head, start
            server.free_at = start + latency[force][last - head]
            head = last
        self.head = head
        for each in awake:
            if each.size:
                self._settle(each, end)

    def reshare(self, server: Server, force: int, now: float) -> None:
        """Let the rest of the present batch go on at another share."""
        if server.size and server.free_at > now:
            latency = self.profile.latency
            speed = latency[force][server.size] / latency[server.force][server.size]
            server.free_at = now + (server.free_at - now) * speed
        server.force = force

    def remove(self, server: Server, now: float) -> None:
        """End a server; the batch it has is still finished."""
        if server.size:
            self._settle(server, server.free_at)
        self.servers.remove(server)

    def close(self, now: float) -> None:
        """Count what is still waiting or computing at the end by the time it has taken so far."""
        for each in self.servers:
            if each.size:
                self._settle(each, each.free_at)
        waiting = bisect_right(self.times, now, self.head)
        self.late += bisect_left(self.times, now - self.profile.objective, self.head, waiting) - self.head
        self.served += waiting - self.head

    def percentile(self, part: float) -> float:
        """The latency, in objectives, that this part of the requests kept; a quarter octave coarse."""
        left = part * sum(self.histogram)
        for bucket, count in enumerate(self.histogram):
            left -= count
            if left <= 0:
                return FIRST_BUCKET * 2 ** ((bucket + 1) / BUCKETS_PER_OCTAVE)
        return NEVER

    def _settle(self, server: Server, until: float) -> None:
        """Account the batch up to ``until``, and its requests when it has ended by then."""
        finish = server.free_at
        busy = (finish if finish < until else until) - server.started
        limit = self.profile.saturation[server.size]
        if busy > 0:
            if server.force < limit:
                server.used += busy * server.force
                server.throttled += busy * (1 - server.force / limit)
            else:
                server.used += busy * limit
            server.started += busy
        if finish <= until:
            self._count(server, finish)
            server.size = 0

    def _count(self, server: Server, finish: float) -> None:
        first, last, objective = server.first, server.last, self.profile.objective
        size = last - first
        self.served += size
        taken = (finish - self.times[first]) / objective
        if taken > 1:
            self.late += bisect_left(self.times, finish - objective, first, last) - first
        bucket = int(BUCKETS_PER_OCTAVE * math.log2(max(taken, FIRST_BUCKET) / FIRST_BUCKET))
        self.histogram[bucket if bucket < BUCKETS else BUCKETS - 1] += size
