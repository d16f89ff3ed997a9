"""A measured process: does what each line of stdin says, and answers a line of JSON.

{"answer": …}, or {"error": text} for what the driver or PyTorch refused.
"""

import json
import sys
import time
from typing import Any

from gpu.inside import holding, loads, lookups, nvml, pytorch, runs
from gpu.inside.driver import Driver


class Worker:
    """The commands; what they return goes out as JSON."""

    def __init__(self) -> None:
        self.driver = Driver()
        self.load: loads.Load | None = None
        self.held: list[int] = []

    def identify(self) -> dict[str, Any]:
        found = {"simulated": self.driver.simulated, "devices": self.driver.count()}
        if not found["devices"]:
            return found
        return found | {
            "names": [self.driver.name(device) for device in range(found["devices"])],
            "uuids": [self.driver.uuid(device) for device in range(found["devices"])],
            "cuda": self.driver.version(),
            "torch": pytorch.installed(),
        }

    def start(self, device: int) -> float:
        """Milliseconds that the context takes."""
        before = time.monotonic_ns()
        self.driver.start(device)
        return (time.monotonic_ns() - before) / 1e6

    def calibrate(self) -> dict[str, float]:
        return loads.calibrate(self.driver)

    def prepare(self, name: str, rates: dict[str, float]) -> None:
        self.load = loads.make(name, self.driver, rates)

    def run(self, seconds: float) -> dict[str, Any]:
        assert self.load is not None
        return runs.run(self.driver, self.load, seconds)

    def costs(self, loops: int, sizes: list[int]) -> dict[str, Any]:
        return runs.costs(self.driver, loops=loops, sizes=sizes)

    def multiprocessors(self) -> int:
        return self.driver.multiprocessors()

    def views(self) -> dict[str, Any]:
        return holding.views(self.driver)

    def fill(self, way: str, chunk: int) -> dict[str, Any]:
        return holding.fill(self.driver, way, chunk)

    def torch_fill(self, chunk: int, captured: bool) -> dict[str, Any]:
        return pytorch.fill(chunk, captured=captured)

    def hold(self, size: int) -> None:
        self.held.append(self.driver.allocate(size))

    def granularity(self, allocations: int) -> dict[str, int | None]:
        return holding.granularity(self.driver, allocations=allocations)

    def attempts(self, size: int, seconds: float) -> list[list[Any]]:
        return holding.attempts(self.driver, size=size, seconds=seconds)

    def first_success(self, size: int, seconds: float) -> float | None:
        return holding.first_success(self.driver, size=size, seconds=seconds)

    def compare_lookups(self, tuples: list[list[Any]]) -> dict[str, list[str]]:
        return lookups.compare(self.driver, tuples)

    def nvml_facts(self) -> dict[str, Any]:
        return nvml.facts(self.driver)

    def nvml_sampling(self, seconds: float) -> dict[str, Any]:
        return nvml.sampling(self.driver, seconds=seconds)


def main() -> None:
    """Until stdin ends."""
    try:
        worker = Worker()
    except OSError as error:  # no driver at all
        worker = None
        reason = str(error)
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        try:
            answer = {"answer": getattr(worker, name)(*arguments)} if worker else {"error": reason}
        except Exception as error:  # whatever a driver or a framework says is an answer
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
