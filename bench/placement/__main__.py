"""``python -m placement``: replays the openb lists for all policies and prints them beside the paper."""

import argparse
import dataclasses
import json
import signal
import sys
from pathlib import Path

from placement import contest, openb, table

DATA = Path(__file__).parents[2] / ".." / "shared" / "data" / "openb"


def main() -> int:
    """Prints the table; 2 when the lists are not there."""
    options = _options().parse_args()
    results = []
    print(table.HEAD, flush=True)
    try:
        for result in contest.contest(
            options.nodes,
            _lists(options),
            policies=options.policy or list(contest.POLICIES),
            seeds=range(options.first_seed, options.first_seed + options.seeds),
            say=lambda line: print(line, file=sys.stderr, flush=True),
        ):
            results.append(result)
            print(table.row(result), flush=True)
    except openb.BadListError as error:
        print(f"bench-placement: {error}; name files with --nodes and --pods", file=sys.stderr)
        return 2
    print(*table.against_fgd(results), sep="\n")
    if options.json:
        options.json.write_text(json.dumps([dataclasses.asdict(result) for result in results], indent=1))
    return 0


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="placement", description=__doc__)
    parser.add_argument(
        "--nodes", type=Path, default=DATA / "openb_node_list_gpu_node.csv.gz", metavar="FILE"
    )
    parser.add_argument(
        "--pods", type=Path, metavar="FILE", help="a pod list of one's own, instead of --lists"
    )
    parser.add_argument("--lists", nargs="+", default=list(openb.LISTS), metavar="NAME")
    parser.add_argument("--seeds", type=int, default=10, metavar="N")
    parser.add_argument("--first-seed", type=int, default=42, metavar="SEED")
    parser.add_argument("--policy", action="append", choices=list(contest.POLICIES), help="may be repeated")
    parser.add_argument("--json", type=Path, metavar="FILE")
    return parser


def _lists(options: argparse.Namespace) -> dict[str, Path]:
    if options.pods:
        return {options.pods.name: options.pods}
    return {name: DATA / f"openb_pod_list_{name}.csv.gz" for name in options.lists}


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # who reads no further ends us quietly, as `| head` does
    sys.exit(main())
