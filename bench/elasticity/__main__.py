"""``python -m elasticity``: the dual loop and its rivals on public traces, with violations beside four costs.

Without options every policy plays every load once. --sweep varies each policy's deciding constant, --cards
the hardware, --seed the requests; --trace takes a file of one's own; PLOT=1 draws pictures.
"""

import argparse
import dataclasses
import json
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from elasticity import contest, kernel, plots, profiles, simulation, table, timeline, traces

MODELS = tuple(profiles.MEMORY_GIB)
PLOTS = Path("build/elasticity")


def main(arguments: list[str] | None = None) -> int:
    """Prints the tables; 2 when a trace, a profile or saved runs cannot be read, or results not written."""
    options = _options().parse_args(arguments)
    try:
        for folder in (options.plots, options.json and options.json.parent):
            if folder is not None:
                folder.mkdir(parents=True, exist_ok=True)
        results = _results(options)
        if options.json:
            options.json.write_text(json.dumps([dataclasses.asdict(each) for each in results], indent=1))
    except (
        traces.BadTraceError,
        profiles.BadProfileError,
        kernel.NoCompilerError,
        contest.BadResultsError,
        OSError,
    ) as error:
        print(f"bench-elasticity: {error}", file=sys.stderr)
        return 2
    print(*table.means(results), *table.at_equal_cost(results), sep="\n")
    print(*table.at_equal_hardware(results), *table.cheapest_within(results), sep="\n")
    return 0


def _results(options: argparse.Namespace) -> list[contest.Result]:
    results = [each for path in options.beside for each in contest.saved(path)]
    models = [profiles.read(options.profiles / f"bs_sm_{name}.csv") for name in MODELS]
    print(table.HEAD, flush=True)
    for trace in options.trace or traces.names():
        for seed in options.seed:
            runs: dict[str, timeline.Timeline] = {}
            for result, seen in _played(trace, models, options, seed=seed):
                results.append(result)
                runs[f"{result.policy} {result.value:g}, {result.cards} cards"] = seen
                print(table.row(result), flush=True)
            _draw(options.plots, trace, seed, runs)
    return results


def _played(
    trace: str, models: list[profiles.Profile], options: argparse.Namespace, *, seed: int
) -> Iterator[tuple[contest.Result, timeline.Timeline]]:
    return contest.play(
        trace,
        models,
        names=options.policy or list(contest.POLICIES),
        sweep=options.sweep,
        settings_by_cards=[simulation.Setting(cards=cards) for cards in options.cards],
        seconds=options.seconds,
        seed=seed,
    )


def _draw(folder: Path | None, trace: str, seed: int, runs: Mapping[str, timeline.Timeline]) -> None:
    if folder is None:
        return
    path = folder / f"{Path(trace).name}-{seed}.svg"
    path.write_text(plots.page(f"{Path(trace).name}, seed {seed}", runs))
    print(f"  {path}", flush=True)


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="elasticity", description=__doc__)
    parser.add_argument(
        "--trace",
        action="append",
        metavar="FILE",
        help=f"may be repeated; a file (a rate per line and second, or csv of requests whose first column is"
        f" their time) or one of {', '.join(traces.names())}",
    )
    parser.add_argument("--policy", action="append", choices=list(contest.POLICIES), help="may be repeated")
    parser.add_argument("--seed", type=int, nargs="+", default=[1], metavar="N", help="of the requests; 1")
    parser.add_argument("--seconds", type=_positive, default=900, metavar="N", help="of each load; 900")
    parser.add_argument(
        "--cards", type=_positive, nargs="+", default=[8], metavar="N", help="GPUs of the pool; 8"
    )
    parser.add_argument("--sweep", action="store_true", help="vary each policy's deciding constant")
    parser.add_argument("--profiles", type=Path, default=traces.DATA / "dilu_asplos25", metavar="FOLDER")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the runs to this file")
    parser.add_argument(
        "--plots",
        type=Path,
        default=PLOTS if os.environ.get("PLOT") == "1" else None,
        metavar="FOLDER",
        help=f"draw load, latency, slices and replicas of every load; {PLOTS} with PLOT=1",
    )
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
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"expected a whole number above zero, found {text}")
    return int(text)


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # who reads no further ends us quietly, as `| head` does
    sys.exit(main())
