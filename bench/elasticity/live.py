"""``python -m elasticity.live``: one load on the test bed and in the simulator, same settings, side by side.

On the bed everything is real but the GPUs: control plane, operator, Prometheus, agent, shim, servers. How far
both columns agree is how far the simulator's tables can be believed.
"""

import argparse
import asyncio
import dataclasses
import json
import sys
import tempfile
from pathlib import Path

from elasticity import kernel, live_bed, live_case, live_model
from vgpu_e2e import errors, prometheus

ROW = "{:<44}{:>12}{:>12}"


def main(arguments: list[str] | None = None) -> int:
    """Prints both columns; 2 when there is no bed to run on, no compiler, or the file is no list of rates."""
    options = _options().parse_args(arguments)
    try:
        case = live_case.read(options.rates, seed=options.seed)
        if (missing := prometheus.missing()) is not None:
            raise errors.BedError(missing)
        on_bed = asyncio.run(live_bed.play(case))
        with tempfile.TemporaryDirectory() as folder:
            simulated = live_model.play(case, beside=on_bed, folder=Path(folder))
        if options.json:
            both = {"bed": dataclasses.asdict(on_bed), "simulator": dataclasses.asdict(simulated)}
            options.json.write_text(json.dumps(both, indent=1))
    except (live_case.BadRatesError, errors.BedError, kernel.NoCompilerError, OSError) as error:
        print(f"bench-elasticity live: {error}", file=sys.stderr)
        return 2
    print(*_table(case, on_bed, simulated), sep="\n")
    return 0


def _table(case: live_case.Case, on_bed: live_case.Figures, simulated: live_case.Figures) -> list[str]:
    """Rows of what was seen on the bed and what the simulator says."""

    def seconds(value: float | None) -> str:
        return "never" if value is None else f"{value:.1f} s"

    both = (on_bed, simulated)
    rows: list[tuple[str, list[str]]] = [
        ("requests", [str(each.requests) for each in both]),
        (f"later than {1000 * case.objective:.0f} ms", [f"{each.late_percent:.2f} %" for each in both]),
        ("allocated, GPU-hours per hour", [f"{each.allocated:.3f}" for each in both]),
        ("first growth after the step", [seconds(each.first_growth) for each in both]),
        ("first replica asked for after the step", [seconds(each.first_replica) for each in both]),
        ("most replicas", [str(each.most_replicas) for each in both]),
        ("from asked for to ready (taken over)", [seconds(each.cold_start) for each in both]),
        ("GPU time of a request (taken over)", [f"{each.request_ms:.1f} ms" for each in both]),
    ]
    return [ROW.format("", "bed", "simulator"), *(ROW.format(name, *cells) for name, cells in rows)]


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="elasticity.live", description=__doc__)
    parser.add_argument(
        "--rates", type=Path, default=live_case.RATES, metavar="FILE", help="requests per second, a line each"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the requests; 0")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write both columns to this file")
    return parser


if __name__ == "__main__":
    sys.exit(main())
