"""The questions, one a file: measure(machine) gives plain values for JSON. Each takes under ten minutes."""

from collections.abc import Callable
from typing import Any

from gpu.machine import Machine
from gpu.steps import compute, facts, live, memory, overhead, pairs, robustness

STEPS: dict[str, Callable[[Machine], dict[str, Any]]] = {
    "facts": facts.measure,
    "memory": memory.measure,
    "memory-torch": memory.measure_torch,
    "compute": compute.measure,
    "compute-torch": compute.measure_torch,
    "overhead": overhead.measure,
    "pairs": pairs.measure,
    "live": live.measure,
    "robustness": robustness.measure,
}
"""By name, in the order in which they run."""
