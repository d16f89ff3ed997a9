"""What the driver takes for a context on each device: learned, and charged to whoever makes one from then on.

No call reports that memory; it is what the driver says of a process beyond what its slice accounts for. What
is charged stands in the limits page, and the shim charges it. Learned costs are kept in a file, for after a
restart contexts are in the accounts already, and could not be told from what a process allocated.

A tenant could teach too much, by memory that no account has. So a cost has a bound, the least of all slices
counts, and it comes down when a process is seen that was charged more than it holds.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from vgpu import values
from vgpu_agent import audit, devices

LARGEST_BYTES = values.GIB
"""More than any context costs: such a process has escaped, and teaches nothing."""


class Contexts:
    """The costs by device UUID, in bytes; ``file`` lives as long as the machine is up."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.costs: Mapping[str, int] = {}

    def recall(self) -> None:
        """Reads what an earlier agent has learned."""
        try:
            kept = json.loads(self._file.read_text())
            self.costs = {str(uuid): int(cost) for uuid, cost in kept.items()}
        except (OSError, ValueError, TypeError, AttributeError):  # none yet, or half written: learn again
            self.costs = {}

    def learn(
        self,
        device: str,
        processes: Iterable[devices.ProcessUse],
        holdings: Iterable[audit.Holding],
        *,
        pod_of: Callable[[int], str | None],
    ) -> bool:
        """Learns what can be told of a cost; whether it is another now. OSError where it cannot be kept."""
        known, beyond = self.costs.get(device), told(processes, holdings, pod_of=pod_of)
        cost = _learned(known, beyond)
        if cost is None or cost == known:
            return False
        self.costs = {**self.costs, device: cost}
        self._file.write_text(json.dumps(self.costs))
        return True


def _learned(known: int | None, beyond: int | None) -> int | None:
    if beyond is None:
        return known
    if known is None:
        return beyond if beyond > 0 else None
    return known if beyond >= 0 else max(0, known + beyond)


def told(
    processes: Iterable[devices.ProcessUse],
    holdings: Iterable[audit.Holding],
    *,
    pod_of: Callable[[int], str | None],
) -> int | None:
    """The least that a slice's only process holds beyond its account; None where no slice tells.

    The least, because modules and what kernels spill come on top for some. Below 0 where one holds less.
    """
    by_pod: dict[str, list[int | None]] = {}
    for each in processes:
        if (uid := pod_of(each.pid)) is not None:
            by_pod.setdefault(uid, []).append(each.memory_bytes)
    beyond = []
    for holding in holdings:
        seen = [size for uid in holding.pod_uids for size in by_pod.get(uid, [])]
        if len(seen) == 1 and seen[0] is not None and abs(seen[0] - holding.used_bytes) <= LARGEST_BYTES:
            beyond.append(seen[0] - holding.used_bytes)
    return min(beyond, default=None)
