"""The results file: when, on what, with what, and the steps' figures, written after every step.

Runs of the same commit on the same GPU and driver may share a file, step by step.
"""

import contextlib
import datetime
import json
import subprocess
from pathlib import Path
from typing import Any

from gpu.machine import ROOT, Machine

RESULTS = ROOT / "bench" / "gpu" / "results"
REHEARSAL = "A rehearsal on the simulated driver: it says nothing about any GPU."
SAME = ("rehearsal", "gpu", "driver", "cuda", "commit", "seconds")
"""What two runs must agree in to share a file."""

Report = dict[str, Any]


class NotComparableError(Exception):
    """The file holds results of something else."""


def head(bench: Machine, *, rehearsal: bool) -> Report:
    """Everything but the steps; a rehearsal names no GPU and no driver."""
    made: Report = {"date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")}
    if rehearsal:
        return made | {"rehearsal": REHEARSAL, "seconds": bench.seconds, "steps": {}}
    nvml = bench.facts["nvml"]
    return made | {
        "gpu": bench.facts["names"][0],
        "memory_bytes": bench.memory,
        "multiprocessors": bench.facts["multiprocessors"],
        "driver": nvml.get("driver", f"unknown: {nvml.get('error')}"),
        "cuda": bench.facts["cuda"],
        "others_on_the_gpu": nvml.get("processes"),
        "commit": _commit(),
        "seconds": bench.seconds,
        "steps": {},
    }


def _commit() -> str | None:
    """The tree's commit; None outside a checkout."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    return None


def place(report: Report) -> Path | None:
    """Where results go unless told otherwise; None for a rehearsal."""
    if "rehearsal" in report:
        return None
    return RESULTS / f"{report['date'][:10]}-{report['gpu'].replace(' ', '-')}.json"


def resume(report: Report, path: Path | None) -> Report:
    """The report with the steps that the file already has; NotComparableError where it is another run's."""
    if path is None or not path.exists():
        return report
    try:
        earlier = json.loads(path.read_text())
        steps = dict(earlier["steps"])
    except (ValueError, KeyError, TypeError):
        raise NotComparableError(f"{path} is no results file: name another --out") from None
    for name in SAME:
        if earlier.get(name) != report.get(name):
            raise NotComparableError(
                f"{path} has {name} {earlier.get(name)!r}, this run {report.get(name)!r}: name another --out"
            )
    return report | {"steps": steps}


def write(report: Report, path: Path | None) -> None:
    """Replaces the file, if there is to be one."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(report, indent=1) + "\n")
