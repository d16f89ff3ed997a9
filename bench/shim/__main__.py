"""What the shim costs: every operation native and shimmed, alternated in one run.

    python bench/shim [--rounds 5] [--output build/shim/bench.json]

Needs `make -C shim`. The driver is the simulated one in its mode of least work, so
that the difference is the shim's own. Published figures are HAMi-core's, from the
reference, measured the same way on another machine: compare the differences.

Each run takes the median of its loops, and each case the quickest of its runs:
whatever else the machine does can only add.
"""

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import click

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "shim"
sys.path.insert(0, str(ROOT / "shim"))

from vgpu_shim import limits, usage  # noqa: E402 -- found beside this script, installed or not

GIB = 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One line of the table. The target bounds `added` ns per operation, or the shimmed total."""

    name: str
    operation: str
    threads: int = 1
    processes: int = 1
    percent: int = 100
    target: float
    total: bool = False
    published: str = ""


CASES = [
    Case(name="pass-through", operation="pass", target=2, published="+2.5"),
    Case(name="launch, no core limit", operation="launch", target=5, published="+25"),
    Case(name="launch, limit 50, not blocking", operation="launch", percent=50, target=60, published="+33"),
    Case(name="the same, 4 threads", operation="launch", percent=50, threads=4, target=100, published="+450"),
    Case(name="alloc + free 4 KiB", operation="pair", target=40, published="+810"),
    Case(name="the same, 4 threads", operation="pair", threads=4, target=400, published="+4730"),
    Case(name="the same, 4 processes", operation="pair", processes=4, target=120, published="+2130"),
    Case(name="free, 100000 live, fifo", operation="free_fifo", target=150, total=True, published="838"),
    Case(
        name="free, 100000 live, random", operation="free_random", target=150, total=True, published="306480"
    ),
    Case(name="free, 100000 live, lifo", operation="free_lifo", target=150, total=True, published="558911"),
    Case(name="cuMemGetInfo", operation="meminfo", target=10, total=True, published="1176"),
    Case(name="cuGetProcAddress, hooked", operation="lookup_hooked", target=50, published="+1750"),
    Case(name="cuGetProcAddress, other", operation="lookup_other", target=50, published="+4140"),
    Case(name="refused allocation", operation="refused", target=1000, total=True, published="19000"),
    Case(
        name="refused, 4 processes",
        operation="refused",
        processes=4,
        target=1000,
        total=True,
        published="123000",
    ),
    Case(name="cuMemCreate + Release", operation="block_pair", target=400, published="+912"),
    Case(name="cuMemAllocAsync + FreeAsync", operation="pool_pair", target=800, published="+776"),
    Case(name="start of one process", operation="start", target=1e6, published="+82000000"),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The quickest of the rounds, in nanoseconds."""

    case: Case
    native: float
    shimmed: float

    @property
    def added(self) -> float:
        """What the shim costs."""
        return self.shimmed - self.native

    @property
    def within(self) -> bool:
        """Whether the target is met."""
        return (self.shimmed if self.case.total else self.added) <= self.case.target


def build_loops(directory: Path) -> Path:
    """The loops, compiled and linked to the simulated driver."""
    program = directory / "loops"
    source, include = Path(__file__).with_name("loops.c"), ROOT / "shim" / "include"
    driver = [f"-L{BUILD / 'sim'}", "-l:libcuda.so.1", "-pthread"]
    subprocess.run(["gcc", "-O2", f"-I{include}", "-o", str(program), str(source), *driver], check=True)
    return program


def make_slice(directory: Path, library: Path) -> limits.LimitsPage:
    """A slice of the simulated machine's first device: 8 GiB."""
    os.environ["VGPU_LIBRARY"] = str(library)
    (directory / "usage").mkdir()
    usage.UsagePage.create(directory / "usage" / "accounts", device_count=1).close()
    line = limits.DeviceLimits(uuid=first_device(directory), memory_limit=8 * GIB, compute_percent=100)
    return limits.LimitsPage.create(directory / "limits", [line], slice_id="bench")


def first_device(directory: Path) -> str:
    """The UUID of the simulated machine's first device, asked of its own driver."""
    script = (
        "import ctypes, uuid; d = ctypes.CDLL('libcuda.so.1'); u = (ctypes.c_ubyte * 16)(); "
        "d.cuInit(0); d.cuDeviceGetUuid(u, 0); print('GPU-' + str(uuid.UUID(bytes=bytes(u))))"
    )
    env = machine(directory)
    found = subprocess.run(
        [sys.executable, "-c", script], env=env, check=True, capture_output=True, text=True
    )
    return found.stdout.strip()


def machine(directory: Path) -> dict[str, str]:
    """The environment of a program on the simulated machine."""
    return os.environ | {
        "LD_LIBRARY_PATH": str(BUILD / "sim"),
        "VGPU_SIM_MINIMAL": "1",
        "VGPU_SIM_STATE": str(directory / "machine"),
        "VGPU_DIR": str(directory),
        "LOOP_MS": "20",
    }


def measure(program: Path, case: Case, env: dict[str, str]) -> float:
    """Nanoseconds per operation of one run."""
    command = [str(program), case.operation, str(case.threads), str(case.processes)]
    found = subprocess.run(command, env=env, check=True, capture_output=True, text=True, timeout=120)
    return float(found.stdout)


def run_case(program: Path, case: Case, directory: Path, rounds: int) -> Result:
    """Native and shimmed in turn. A refusal costs nothing without a limit: there is none."""
    env = machine(directory)
    preloaded = env | {"LD_PRELOAD": str(BUILD / "libvgpu.so")}
    native, shimmed = [], []
    for _ in range(rounds):
        if case.operation != "refused":
            native.append(measure(program, case, env))
        shimmed.append(measure(program, case, preloaded))
    return Result(case=case, native=min(native, default=0.0), shimmed=min(shimmed))


def run_all(rounds: int) -> Iterator[Result]:
    """Every case in turn, on one machine."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
        directory = Path(name)
        program = build_loops(directory)
        with make_slice(directory, BUILD / "libvgpu.so") as page:
            for case in CASES:
                page.update(0, compute_percent=case.percent)
                yield run_case(program, case, directory, rounds)


def row(result: Result) -> str:
    """One line of the table."""
    case = result.case
    bound = f"{'' if case.total else '+'}{case.target:g}"
    ratio = f"{result.shimmed / result.native:.2f}" if result.native else "-"
    return (
        f"{case.name:32}{result.native:12.1f}{result.shimmed:12.1f}{result.added:+12.1f}{ratio:>8}"
        f"{bound:>10}{'ok' if result.within else 'OVER':>6}{case.published:>12}"
    )


COLUMNS = ("native", "shimmed", "added", "ratio", "target", "", "HAMi-core")
WIDTHS = (12, 12, 12, 8, 10, 6, 12)
HEADER = "ns per operation".ljust(32) + "".join(c.rjust(w) for c, w in zip(COLUMNS, WIDTHS, strict=True))


def report(results: list[Result], rounds: int) -> dict[str, object]:
    """What goes into the JSON file."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.machine()}, {os.cpu_count()} processors, Linux {platform.release()}",
        "load": os.getloadavg()[0],
        "rounds": rounds,
        "unit": "ns",
        "cases": [
            asdict(r.case) | {"native": r.native, "shimmed": r.shimmed, "added": r.added, "within": r.within}
            for r in results
        ],
    }


@click.command()
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True)
@click.option(
    "--output", type=click.Path(path_type=Path), default=BUILD / "bench.json", show_default="build/shim"
)
def main(rounds: int, output: Path) -> None:
    """Prints the table and writes the JSON."""
    if not shutil.which("gcc") or not (BUILD / "libvgpu.so").exists():
        raise click.ClickException("build/shim/libvgpu.so or gcc is missing: run `make -C shim` first")
    click.echo(HEADER)
    results = []
    for result in run_all(rounds):
        click.echo(row(result))
        results.append(result)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(report(results, rounds), indent=1) + "\n")
    missed = [result.case.name for result in results if not result.within]
    click.echo(f"{len(results) - len(missed)} of {len(results)} within target; load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
