"""``python -m elasticity.steady``: how calm the loop is for a day of steady load, drawn request by request.

Two services on three cards at one level for hours: what changes here follows nothing but chance. Lending is
not counted, as it writes no ledger.
"""

import argparse
import json
import signal
import sys
from dataclasses import asdict
from pathlib import Path

from elasticity import arrivals, kernel, outcome, profiles, simulation, traces
from elasticity.policies import ours

MODELS = ("gpt2_large", "llama2")
CARDS = 3
GPUS = 1.2
"""What both need together on slices of the efficient size."""


def play(models: list[profiles.Profile], *, seconds: int, seed: int, gpus: float = GPUS) -> outcome.Outcome:
    """The default rule under a level load."""
    demands = arrivals.level(models, gpus=gpus, seconds=seconds, seed=seed)
    return simulation.run(demands, ours.Ours(), simulation.Setting(cards=CARDS, warm_up=300))


def main() -> int:
    """Prints one line per seed; 2 when a profile cannot be read, or there is no compiler."""
    parser = argparse.ArgumentParser(prog="elasticity.steady", description=__doc__)
    parser.add_argument("--hours", type=float, default=24.0, metavar="N", help="simulated; 24")
    parser.add_argument("--seed", type=int, nargs="+", default=[1], metavar="N")
    parser.add_argument("--profiles", type=Path, default=traces.DATA / "dilu_asplos25", metavar="FOLDER")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    if not 0.2 <= options.hours <= 240:
        parser.error(f"expected 0.2 to 240 hours, found {options.hours:g}")
    try:
        models = [profiles.read(options.profiles / f"bs_sm_{name}.csv") for name in MODELS]
        seconds = round(3600 * options.hours)
        played = {seed: play(models, seconds=seconds, seed=seed) for seed in options.seed}
        if options.json:
            options.json.write_text(json.dumps({seed: asdict(it) for seed, it in played.items()}, indent=1))
    except (profiles.BadProfileError, kernel.NoCompilerError, OSError) as error:
        print(f"bench-elasticity: {error}", file=sys.stderr)
        return 2
    for seed, it in played.items():
        print(
            f"seed {seed}: {options.hours:g} h, {it.requests} requests, {it.violations:.3f} % late,"
            f" {it.allocated:.2f} GPUs allocated, {it.changes:.2f} resizes per slice and hour,"
            f" {it.flips} down and up within 60 s, {it.starts:.1f} starts per hour"
        )
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # who reads no further ends us quietly, as `| head` does
    sys.exit(main())
