"""The openb lists: node and pod files of the trace, and the streams of pods that the paper made of them.

Source of format and rules: Weng, Yang et al., "Beware of Fragmentation", USENIX ATC'23, and its simulator.
How a stream is played lives in ``replay``.
"""

import csv
import gzip
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vgpu import values
from vgpu.placement import mix

LISTS = (
    "default",
    "cpu050",
    "cpu100",
    "cpu200",
    "cpu250",
    "gpushare40",
    "gpushare60",
    "gpushare80",
    "gpushare100",
    "gpuspec10",
    "gpuspec20",
    "gpuspec25",
    "multigpu20",
    "multigpu30",
    "multigpu50",
)
INFLATION = 1.3
ONE_GPU = values.Amounts(memory_bytes=0, compute_percent=100)


class BadListError(Exception):
    """A file is missing or not of the expected format."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A node of the list; it has ``gpus`` GPUs of one model."""

    name: str
    cpu_milli: int
    memory_bytes: int
    gpus: int
    model: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """A pod of the list; ``gpu_milli`` is per GPU, and ``shape`` the same in the core's words."""

    name: str
    gpus: int
    gpu_milli: int
    memory_bytes: int
    shape: mix.Shape

    @property
    def total_milli(self) -> int:
        """What it asks of all its GPUs together."""
        return self.gpus * self.gpu_milli


def machines(path: Path) -> list[Machine]:
    """The nodes of a list; raises BadListError when it cannot be read or has no GPU."""
    found = [_machine(row) for row in _rows(path, {"sn", "cpu_milli", "memory_mib", "gpu", "model"})]
    if not any(machine.gpus for machine in found):
        raise BadListError(f"expected nodes with GPUs in {path}, found {len(found)} nodes without")
    return found


def pods(path: Path) -> list[Pod]:
    """The pods of a list by name; raises BadListError when it cannot be read or asks for no GPU."""
    rows = _rows(path, {"name", "cpu_milli", "memory_mib", "num_gpu", "gpu_milli"})
    found = sorted((_pod(row) for row in rows), key=lambda pod: pod.name)
    if not any(pod.gpus for pod in found):
        raise BadListError(f"expected pods that ask for GPUs in {path}, found {len(found)} without")
    return found


def counts(listed: list[Pod]) -> Counter[mix.Shape]:
    """How often each shape is asked for in a list."""
    return Counter(pod.shape for pod in listed)


def stream(listed: list[Pod], *, capacity_milli: int, draw: random.Random) -> list[Pod]:
    """The list in random order, filled up with pods drawn from it, or cut, to 130 % of the capacity."""
    arriving = list(listed)
    draw.shuffle(arriving)
    bound = INFLATION * capacity_milli
    asked = sum(pod.total_milli for pod in arriving)
    while asked > bound:
        asked -= arriving.pop(draw.randrange(len(arriving))).total_milli
    while True:
        pod = draw.choice(listed)
        if asked + pod.gpu_milli > bound:  # the rule of the paper's simulator counts one GPU of the pod
            return arriving
        arriving.append(pod)
        asked += pod.total_milli


def _machine(row: dict[str, str]) -> Machine:
    return Machine(
        name=row["sn"],
        cpu_milli=_number(row, "cpu_milli"),
        memory_bytes=_number(row, "memory_mib") * values.MIB,
        gpus=_number(row, "gpu"),
        model=row["model"],
    )


def _pod(row: dict[str, str]) -> Pod:
    gpus, milli = _number(row, "num_gpu"), _number(row, "gpu_milli")
    if gpus and (milli % 10 or not 0 < milli <= 1000):
        raise BadListError(
            f"expected gpu_milli from 10 to 1000 in steps of 10, found {milli} in pod {row['name']}"
        )
    shape = mix.Shape(
        requests=values.Amounts(memory_bytes=0, compute_percent=milli // 10 if gpus else 0),
        device_count=gpus,
        pod_cpu_milli=_number(row, "cpu_milli"),
        models=frozenset(filter(None, (row.get("gpu_spec") or "").split("|"))),
    )
    memory = _number(row, "memory_mib") * values.MIB
    return Pod(name=row["name"], gpus=gpus, gpu_milli=milli if gpus else 0, memory_bytes=memory, shape=shape)


def _number(row: dict[str, str], column: str) -> int:
    try:
        found = int(row[column])
    except (TypeError, ValueError):
        found = -1
    if found < 0:
        raise BadListError(f"expected a whole number from 0 on as {column}, found {row[column]!r} in {row}")
    return found


def _rows(path: Path, columns: set[str]) -> Iterator[dict[str, str]]:
    try:
        with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
            reader = csv.DictReader(file)
            missing = columns - set(reader.fieldnames or ())
            if missing:
                raise BadListError(f"expected the column {min(missing)} in {path}, found {reader.fieldnames}")
            yield from reader
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise BadListError(f"expected a node or pod list at {path}: {error}") from error
