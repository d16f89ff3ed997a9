"""Batching servers of one service: they take waiting requests from one queue and compute them.

Assumed for every policy alike: one queue per service (an ideal balancer), the fastest idle server first, a
batch as large as the objective permits on the present share, the largest possible once requests are late.
The loop itself is ``servers.c``; which share a server has is decided elsewhere.
"""

import ctypes
import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from elasticity import arrivals, kernel
from vgpu import lending

NEVER = math.inf
STEP = 0.1
"""Seconds between two looks of the inner loop; shares change only then."""

KEPT_STEPS = 50
BUCKETS, BUCKETS_PER_OBJECTIVE = 256, 8


class Server(ctypes.Structure):
    """One replica: its slice, and the batch it computes. Shares are percent of one GPU, times seconds."""

    _fields_ = (
        *((name, ctypes.c_double) for name in ("free_at", "ready_at", "started", "used", "throttled")),
        *((name, ctypes.c_double) for name in ("used_second", "throttled_second")),
        ("steps", ctypes.c_double * KEPT_STEPS),
        *((name, ctypes.c_long) for name in ("first", "last", "step_count")),
        *((name, ctypes.c_int) for name in ("force", "size", "asleep", "throttled_steps")),
    )
    free_at: float
    ready_at: float
    used: float
    throttled: float
    used_second: float
    throttled_second: float
    steps: ctypes.Array[ctypes.c_double]
    step_count: int
    force: int
    size: int
    asleep: bool
    throttled_steps: int

    def __init__(self, id_: str, *, card: int, share: int, memory_bytes: int, ready_at: float) -> None:
        super().__init__(free_at=ready_at, ready_at=ready_at, force=share)
        self.id, self.card, self.share, self.memory_bytes = id_, card, share, memory_bytes
        self.before: lending.Share | None = None
        self.shrunk_at = -NEVER

    @property
    def used_steps(self) -> tuple[float, ...]:
        """The mean use of the last steps, up to five seconds of them, in no order."""
        return tuple(self.steps[: min(self.step_count, KEPT_STEPS)])


class _Service(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.POINTER(ctypes.c_double)) for name in ("times", "latency")),
        *((name, ctypes.POINTER(ctypes.c_int)) for name in ("saturation", "most")),
        ("objective", ctypes.c_double),
        *((name, ctypes.c_long) for name in ("count", "head", "served", "late")),
        ("histogram", ctypes.c_long * BUCKETS),
        ("stride", ctypes.c_int),
        ("max_batch", ctypes.c_int),
    )
    head: int
    served: int
    late: int
    histogram: ctypes.Array[ctypes.c_long]


class Service:
    """The queue and the servers of one service, and how its requests fared."""

    def __init__(self, name: str, demand: arrivals.Demand) -> None:
        self.name, self.demand, self.profile = name, demand, demand.profile
        self.times = demand.times
        self.servers: list[Server] = []
        self._library = kernel.load()
        self._kept = self._arrays()
        self._c = self._structure()
        self._pointers = (ctypes.POINTER(Server) * 0)()

    @property
    def served(self) -> int:
        """Requests that have been answered."""
        return self._c.served

    @property
    def late(self) -> int:
        """Requests that took longer than their objective."""
        return self._c.late

    def add(self, server: Server) -> None:
        """Let a server take part."""
        self.servers.append(server)
        self._point()

    def remove(self, server: Server) -> None:
        """End a server; the batch it has is still finished."""
        self._settle(server, server.free_at)
        self.servers.remove(server)
        self._point()

    def queued(self, now: float) -> int:
        """Requests that wait."""
        return max(0, bisect_right(self.times, now) - self._c.head)

    def arrived(self, begin: float, end: float) -> int:
        """Requests that came in between."""
        return bisect_left(self.times, end) - bisect_left(self.times, begin)

    def advance(self, begin: float, end: float) -> None:
        """Compute until ``end``, with the shares in force."""
        self._library.servers_advance(
            ctypes.byref(self._c),
            self._pointers,
            len(self.servers),
            ctypes.c_double(begin),
            ctypes.c_double(end),
        )

    def reshare(self, server: Server, force: int, now: float) -> None:
        """Let the rest of the present batch go on at another share."""
        if server.size and server.free_at > now:
            latency = self.profile.latency
            speed = latency[force][server.size] / latency[server.force][server.size]
            server.free_at = now + (server.free_at - now) * speed
        server.force = force

    def forget(self) -> None:
        """Begin to count anew."""
        self._c.served = self._c.late = 0
        self._c.histogram[:] = [0] * BUCKETS

    def close(self, now: float) -> None:
        """Count what is still computing, and what waits by the time it has waited so far."""
        for each in self.servers:
            self._settle(each, each.free_at)
        head, waiting = self._c.head, bisect_right(self.times, now)
        self._c.late += max(0, bisect_left(self.times, now - self.profile.objective) - head)
        self._c.served += max(0, waiting - head)

    @property
    def histogram(self) -> tuple[int, ...]:
        """Answered requests by latency; each bucket is an eighth of the objective, the last has no end."""
        return tuple(self._c.histogram)

    def percentile(self, part: float) -> float:
        """The latency, in objectives, that this part of the requests kept; an eighth coarse, 32 at most."""
        return quantile(self.histogram, part)

    def _settle(self, server: Server, until: float) -> None:
        self._library.servers_settle(ctypes.byref(self._c), ctypes.byref(server), ctypes.c_double(until))

    def _point(self) -> None:
        pointers = (ctypes.pointer(each) for each in self.servers)
        self._pointers = (ctypes.POINTER(Server) * len(self.servers))(*pointers)

    def _arrays(self) -> tuple[ctypes.Array[ctypes.c_double], ...]:
        flat = [seconds for row in self.profile.latency for seconds in row]
        return (
            (ctypes.c_double * (len(self.times) + 1))(*self.times, NEVER),
            (ctypes.c_double * len(flat))(*flat),
        )

    def _structure(self) -> _Service:
        profile, (times, latency) = self.profile, self._kept
        batches, shares = len(profile.saturation), len(profile.most)
        return _Service(
            times=ctypes.cast(times, ctypes.POINTER(ctypes.c_double)),
            latency=ctypes.cast(latency, ctypes.POINTER(ctypes.c_double)),
            saturation=(ctypes.c_int * batches)(*profile.saturation),
            most=(ctypes.c_int * shares)(*profile.most),
            objective=profile.objective,
            count=len(self.times),
            stride=batches,
            max_batch=profile.max_batch,
        )


def quantile(histogram: Sequence[int], part: float) -> float:
    """The latency, in objectives, below which this part of the counts lies."""
    left = part * sum(histogram)
    for bucket, count in enumerate(histogram):
        left -= count
        if left <= 0:
            return (bucket + 1) / BUCKETS_PER_OBJECTIVE
    return NEVER
