"""What the bare driver does: addresses, costs, granularity, NVML's habits. No shim is involved but once."""

import re
from typing import Any

from gpu.machine import ROOT, Machine, Worker, WorkerError

HOOKS = ROOT / "shim" / "src" / "hooks.def"
HOOK = re.compile(r"^CUDA\((\w+), \(.*\), (\w+), (\d+), ([DP])\)$", re.MULTILINE)
SIZES = [4 << 10, 2 << 20, 64 << 20, 1 << 30]
LOOPS = 2000


def measure(machine: Machine) -> dict[str, Any]:
    """Facts of section by section; what could not be found out is there with its reason."""
    with machine.worker() as process:
        return {
            "addresses": process.ask("compare_lookups", _tuples()),
            "costs": process.ask("costs", LOOPS, SIZES),
            "granularity": process.ask("granularity", 10_000),
            "context": _context(machine, process),
            "nvml": _nvml(machine, process),
            "nvidia_smi_sees_the_slice": _nvidia_smi(machine),
        }


def _tuples() -> list[list[Any]]:
    """Every hooked function as [symbol, base name, version, flag]."""
    return [
        [symbol, name, int(version), flag] for symbol, name, version, flag in HOOK.findall(HOOKS.read_text())
    ]


def _context(machine: Machine, observer: Worker) -> dict[str, float]:
    """How long a context takes, and the memory that it costs."""
    before = observer.ask("views")["cuMemGetInfo"][0]
    with Worker(machine.native) as fresh:
        took_ms = fresh.ask("start", 0)
        return {"ms": took_ms, "bytes": before - observer.ask("views")["cuMemGetInfo"][0]}


def _nvml(machine: Machine, observer: Worker) -> dict[str, Any]:
    """The sampling of a process that is busy all the time."""
    with machine.worker(load="kernel-1ms") as busy:
        busy.send("run", machine.seconds)
        try:
            found = dict(observer.ask("nvml_sampling", machine.seconds))
        except WorkerError as error:
            found = {"error": str(error)}
        busy.receive()
    return found


def _nvidia_smi(machine: Machine) -> bool | None:
    """Whether the tool shows a slice's size inside the slice; None where there is no tool."""
    with machine.worker(machine.slice(memory=4 << 30).environment) as process:
        total = process.ask("views")["nvidia_smi_total_mib"]
    return None if total is None else bool(total == 4096)
