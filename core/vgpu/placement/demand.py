"""What one pool is asked for: each request counted once, whether it finds room or waits.

Requests that fit nowhere count too, or a cluster without room for large ones would cease to expect them. A
restarted process learns from the slices that the ledger holds.
"""

from collections import Counter

from vgpu import values
from vgpu.placement import mix

MOST_WAITING = 16_384


class Demand:
    """Counts at once and learns when it is asked for the mix, the only place that needs the time."""

    def __init__(self) -> None:
        self._memory = mix.Memory()
        self._uncounted: Counter[mix.Shape] = Counter()
        self._waiting: dict[str, None] = {}  # slice ids counted as requests, the oldest first

    @property
    def fresh(self) -> int:
        """How many requests the mix has not taken in yet."""
        return self._uncounted.total()

    def ask(self, request: values.Request) -> None:
        """A request is to be placed; asked again it counts no more."""
        if request.slice_id in self._waiting:
            return
        self._waiting[request.slice_id] = None
        self._uncounted[mix.shape(request)] += 1
        if len(self._waiting) > MOST_WAITING:
            del self._waiting[next(iter(self._waiting))]

    def hold(self, slice_: values.Slice) -> None:
        """The ledger has a slice that it did not have before."""
        if slice_.id in self._waiting:
            del self._waiting[slice_.id]
        else:
            self._uncounted[mix.shape_of(slice_)] += 1

    def mix(self, *, now: float) -> mix.Mix:
        """What to expect; the same object as before while that has hardly changed."""
        for size, count in self._uncounted.items():
            self._memory.see(size, now=now, count=count)
        self._uncounted.clear()
        return self._memory.mix(now=now)
