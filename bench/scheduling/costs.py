"""What processes have cost so far, as Linux tells: CPU seconds and memory."""

import os
from dataclasses import dataclass
from pathlib import Path

MIB = 1024**2


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """CPU seconds since the start, resident memory now in MiB."""

    cpu_seconds: float
    memory_mib: float


def of(pid: int) -> Cost:
    """The cost of a running process; raises OSError for one that is gone."""
    about = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks = int(about[11]) + int(about[12])  # utime and stime, the fields after the name in proc(5)
    pages = int(about[21])
    return Cost(
        cpu_seconds=ticks / os.sysconf("SC_CLK_TCK"), memory_mib=pages * os.sysconf("SC_PAGE_SIZE") / MIB
    )
