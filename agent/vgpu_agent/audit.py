"""Compares what the driver sees with what slices account for, and tells what escaped the shim.

A process is known by its control group, which names its pod; containers are not asked. Whatever a driver
does not answer is not judged. Nothing is stopped here: a report is a log line, a metric, an Event and, while
it lasts, an entry of the VGPUNode's status, by which the operator acts where the pool wants that.
"""

import logging
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from vgpu import values
from vgpu_agent import devices
from vgpu_kube import logs

TOLERANCE_BYTES = 1024 * values.MIB
"""Modules, what kernels spill, and contexts made before their cost was known, are in no account."""

STANDS_AFTER = 2
"""Account and driver are not read in one instant: what one look found may have been between the two."""

_POD_UID = re.compile(r"pod([0-9a-f]{8}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{12})")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Escape:
    """GPU memory of a pod on a device that its slice does not account for; no slice at all is None."""

    pod_uid: str
    device: str
    slice_id: str | None
    seen_bytes: int
    accounted_bytes: int

    def __str__(self) -> str:
        held = f"{self.seen_bytes / values.GIB:.4g} GiB"
        if self.slice_id is None:
            return f"pod {self.pod_uid} holds {held} of {self.device} without a slice there"
        accounted = f"{self.accounted_bytes / values.GIB:.4g} GiB"
        return f"pod {self.pod_uid} holds {held} of {self.device}, its slice accounts for {accounted}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """What a slice accounts for on one device, and whose it is."""

    slice_id: str
    pod_uids: frozenset[str]
    used_bytes: int


def pod_of(pid: int, *, proc: Path = Path("/proc")) -> str | None:
    """The UID of the pod that a process belongs to, by its control group; None for any other process."""
    try:
        groups = (proc / str(pid) / "cgroup").read_text()
    except OSError:
        return None
    match = _POD_UID.search(groups)
    return match.group(1).replace("_", "-") if match else None


def escapes(
    device: str,
    processes: Iterable[devices.ProcessUse],
    holdings: Iterable[Holding],
    *,
    pod_of: Callable[[int], str | None],
) -> list[Escape]:
    """What pods hold on a device beyond their slices' accounts."""
    seen = _by_pod(processes, pod_of)
    found = []
    for holding in holdings:
        mine = {uid: seen.pop(uid) for uid in holding.pod_uids & seen.keys()}
        total = sum(mine.values())
        if total > holding.used_bytes + TOLERANCE_BYTES:
            found.append(
                Escape(
                    pod_uid=max(mine, key=lambda uid: mine[uid]),
                    device=device,
                    slice_id=holding.slice_id,
                    seen_bytes=total,
                    accounted_bytes=holding.used_bytes,
                )
            )
    found += [
        Escape(pod_uid=uid, device=device, slice_id=None, seen_bytes=size, accounted_bytes=0)
        for uid, size in seen.items()
        if size > 0
    ]
    return found


class Auditor:
    """Remembers what was told, so that each escape is told once while it lasts."""

    def __init__(self, tell: Callable[[Escape], None]) -> None:
        self._tell = tell
        self._lasting: dict[tuple[str, str], tuple[Escape, int]] = {}  # as found first, and how often since

    def judge(self, device: str, found: list[Escape]) -> None:
        """Tells what is new on a device; forgets what has ended there."""
        now = {(each.device, each.pod_uid): each for each in found}
        for key in now.keys() - self._lasting.keys():
            logs.event(logger, logging.WARNING, "escape found", pod=key[1], device=device, what=now[key])
            self._tell(now[key])
        known = self._lasting
        self._lasting = {key: entry for key, entry in known.items() if key[0] != device}
        for key, escape in now.items():
            first, times = known.get(key, (escape, 0))
            self._lasting[key] = first, times + 1

    def standing(self) -> dict[str, values.Escape]:
        """What was found in several looks in a row, by the pod's UID: it may be acted upon."""
        return {
            first.pod_uid: values.Escape(device_uuid=first.device, message=str(first))
            for first, times in self._lasting.values()
            if times >= STANDS_AFTER
        }


def _by_pod(processes: Iterable[devices.ProcessUse], pod_of: Callable[[int], str | None]) -> dict[str, int]:
    """Memory by pod; processes outside of pods are the node's own business."""
    seen: dict[str, int] = {}
    for each in processes:
        uid = pod_of(each.pid)
        if uid is not None and each.memory_bytes is not None:
            seen[uid] = seen.get(uid, 0) + each.memory_bytes
    return seen
