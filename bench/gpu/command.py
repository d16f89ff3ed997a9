"""Finds a GPU, runs the steps, writes the results; or says that there is no GPU, and claims nothing."""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from gpu import machine, report, steps
from gpu.machine import ROOT, Machine, WorkerError

BUILT = ROOT / "build" / "shim"
NO_GPU = "No NVIDIA GPU here ({why}): nothing was measured, and nothing is claimed."

ABOUT = """\
Measures the shim on a real NVIDIA GPU, beside the bare driver in the same run.

Needs: an idle GPU, its driver, a C compiler and make (or --library), Python 3.11 with cffi;
nvidia-ml-py for NVML's side, PyTorch for the steps and loads that use it. Where there is no
GPU it says so and exits 0.
"""
STEPS = """\
steps:
  facts          addresses, costs, granularity, contexts, NVML's sampling of the bare driver
  memory         8 and 40 GiB slices filled by cuMemAlloc, cuMemAllocAsync, cuMemCreate; all views
  memory-torch   the same until torch.OutOfMemoryError: three allocators, and a graph capture
  compute        kernels of 20 us to 11 ms, graphs, streams, cooperative, at 25/50/75/90 %
  compute-torch  bf16 matmuls, elementwise, graph replay at the same shares
  overhead       native and shimmed by turns at 100 %: throughput, and cost by call
  pairs          30/70, 50/50, 20/20, one idle, two processes in one slice
  live           compute 80, 20, 60 % and memory down and up while a process runs
  robustness     SIGKILL of a process that holds 20 GiB, 200 starts

examples:
  python bench/gpu/run.py                           everything, about 40 minutes
  python bench/gpu/run.py --steps facts memory      two steps; the others may follow into the same file
  python bench/gpu/run.py --rehearse --seconds 0.3  tries the script itself, without a GPU
"""


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(
        prog="bench/gpu/run.py",
        description=ABOUT,
        epilog=STEPS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument(
        "--steps", nargs="+", choices=list(steps.STEPS), default=list(steps.STEPS), metavar="STEP"
    )
    made.add_argument("--device", type=int, default=0, help="ordinal of the GPU (default 0)")
    made.add_argument("--seconds", type=_positive, default=10.0, help="per throughput figure (default 10)")
    made.add_argument("--starts", type=int, default=200, help="short-lived processes (default 200)")
    made.add_argument("--library", type=Path, help="libvgpu.so (default: built from this tree)")
    made.add_argument("--rival", type=Path, help="a HAMi-core library to run the same loads under")
    made.add_argument("--out", type=Path, help="JSON file (default: bench/gpu/results/DATE-GPU.json)")
    made.add_argument("--rehearse", action="store_true", help="run on the simulated driver; gives no result")
    return made


def _positive(text: str) -> float:
    seconds = float(text)
    if not seconds > 0:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return seconds


def main() -> int:
    """The exit code: 0 also without a GPU, 1 when a step failed, 2 for wrong use."""
    options = parser().parse_args()
    refusal = _refusal(options)
    if refusal:
        print(refusal, file=sys.stderr)
        return 2
    try:
        return _run(options)
    except (OSError, subprocess.CalledProcessError, WorkerError, report.NotComparableError) as error:
        print(f"bench/gpu: {error}", file=sys.stderr)
        return 1


def _run(options: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory(prefix="vgpu-gpu-") as scratch:
        environment = _environment(options, Path(scratch))
        found = machine.identify(environment)
        why = _not_measurable(found, options)
        if why:
            print(NO_GPU.format(why=why))
            return 0
        environment["CUDA_VISIBLE_DEVICES"] = found["uuids"][options.device]
        return _measure(options, environment, Path(scratch))


def _refusal(options: argparse.Namespace) -> str | None:
    """What makes a run impossible or its results worthless, before anything is started."""
    if Path("/run/vgpu").exists():
        return "/run/vgpu exists: this is a container with a slice; run where the whole GPU is seen"
    for name in ("library", "rival"):
        given = getattr(options, name)
        if given is not None and not given.is_file():
            return f"--{name} {given}: no such file"
    if options.rehearse and options.out is not None and report.RESULTS in options.out.resolve().parents:
        return f"--out {options.out}: a rehearsal is no result and does not go to {report.RESULTS.name}/"
    return None


def _environment(options: argparse.Namespace, scratch: Path) -> dict[str, str]:
    plain = machine.own_environment()
    if not options.rehearse:
        return plain
    _make("sim")
    return plain | {"LD_LIBRARY_PATH": str(BUILT / "sim"), "VGPU_SIM_STATE": str(scratch / "machine")}


def _make(*targets: str) -> None:
    BUILT.mkdir(parents=True, exist_ok=True)
    command = ["flock", str(BUILT / "lock"), "make", "-s", "-C", str(ROOT / "shim"), *targets]
    subprocess.run(command, check=True, stdout=sys.stderr)


def _not_measurable(found: dict[str, Any], options: argparse.Namespace) -> str | None:
    """Why there is nothing to measure on; None where there is."""
    if not found["devices"]:
        return str(found.get("why", "the driver finds no device"))
    if found["simulated"] and not options.rehearse:
        return "the libcuda.so.1 found is the simulated driver; --rehearse tries the script on it"
    if options.rehearse and not found["simulated"]:
        return "--rehearse is for the simulated driver, and another one was found"
    if not 0 <= options.device < found["devices"]:
        return f"--device {options.device}: the driver has {found['devices']}"
    return None


def _measure(options: argparse.Namespace, environment: dict[str, str], scratch: Path) -> int:
    library = options.library
    if library is None:
        _make("lib")
        library = BUILT / "libvgpu.so"
    facts = machine.identify(environment) | machine.describe(environment)
    bench = Machine(
        facts=facts,
        native=environment,
        library=library.resolve(),
        scratch=scratch,
        seconds=options.seconds,
        starts=options.starts,
        rival=options.rival,
    )
    return _steps(options, bench)


def _steps(options: argparse.Namespace, bench: Machine) -> int:
    """Runs the steps asked for, and writes after each: a run that is cut off keeps what it has."""
    made = report.head(bench, rehearsal=options.rehearse)
    out = options.out or report.place(made)
    made = report.resume(made, out)
    for name in options.steps:
        made["steps"][name] = _step(name, bench)
        report.write(made, out)
    print(f"written to {out}" if out is not None else json.dumps(made, indent=1))
    if options.rehearse:
        print(report.REHEARSAL)
    return int(any("failed" in made["steps"][name] for name in options.steps))


def _step(name: str, bench: Machine) -> dict[str, Any]:
    """A step's figures, or why it failed: the others still run."""
    print(f"{name} ...", file=sys.stderr, flush=True)
    started = time.monotonic()
    try:
        found = steps.STEPS[name](bench)
    except WorkerError as error:
        found = {"failed": str(error)}
    return found | {"took_seconds": round(time.monotonic() - started, 1)}
