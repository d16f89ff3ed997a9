"""``python -m elasticity``: the dual loop and its rivals on public traces, with violations beside four costs.

Without options every policy plays every load once; --sweep varies each policy's deciding constant.
"""

import argparse
import dataclasses
import json
import sys
from pathlib import Path

from elasticity import contest, kernel, profiles, simulation, table, traces

MODELS = tuple(profiles.MEMORY_GIB)


def main() -> int:
    """Prints the tables; 2 when a trace or profile cannot be read."""
    options = _options().parse_args()
    try:
        results = [each for path in options.beside for each in contest.saved(path)]
        models = [profiles.read(options.profiles / f"bs_sm_{name}.csv") for name in MODELS]
        print(table.HEAD, flush=True)
        for trace in options.trace or traces.names():
            for result in contest.play(
                trace,
                models,
                names=options.policy or list(contest.POLICIES),
                sweep=options.sweep,
                settings_by_cards=[simulation.Setting(cards=cards) for cards in options.cards],
                seconds=options.seconds,
                seed=options.seed,
            ):
                results.append(result)
                print(table.row(result), flush=True)
    except (
        traces.BadTraceError,
        profiles.BadProfileError,
        kernel.NoCompilerError,
        contest.BadResultsError,
    ) as error:
        print(f"bench-elasticity: {error}", file=sys.stderr)
        return 2
    print(*table.means(results), *table.at_equal_cost(results), *table.cheapest_within(results), sep="\n")
    if options.json:
        options.json.write_text(json.dumps([dataclasses.asdict(each) for each in results], indent=1))
    return 0


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="elasticity", description=__doc__)
    parser.add_argument(
        "--trace",
        action="append",
        metavar="FILE",
        help=f"may be repeated; a file or {', '.join(traces.names())}",
    )
    parser.add_argument("--policy", action="append", choices=list(contest.POLICIES), help="may be repeated")
    parser.add_argument("--seed", type=int, default=1, metavar="N")
    parser.add_argument("--seconds", type=_positive, default=900, metavar="N", help="of each load; 900")
    parser.add_argument(
        "--cards", type=_positive, nargs="+", default=[8], metavar="N", help="GPUs of the pool; 8"
    )
    parser.add_argument("--sweep", action="store_true", help="vary each policy's deciding constant")
    parser.add_argument("--profiles", type=Path, default=traces.DATA / "dilu_asplos25", metavar="FOLDER")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the runs to this file")
    parser.add_argument(
        "--beside",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="compare with runs of earlier --json",
    )
    return parser


def _positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"expected a number above zero, found {text}")
    return number


if __name__ == "__main__":
    sys.exit(main())
