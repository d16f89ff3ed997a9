"""``python -m room``: what a waiting pod costs the operator in a large cluster, in milliseconds of CPU.

The baseline is the plain reading: placement asked of every node, one after the other.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from room import cluster
from vgpu import inventory, values
from vgpu.placement import choice, policies
from vgpu.room import moving, returning, scene, whatif
from vgpu_operator import homes, verdicts

T = TypeVar("T")

ASKS = ((40, 40, 1), (60, 60, 1), (80, 100, 1), (24, 90, 2), (30, 30, 8))
"""GiB and percent per GPU, and GPUs."""

COLUMNS = ("asked", "plain", "verdict", "returns", "moves", "suggestions")


def main() -> None:
    """Prints the table, and writes it as JSON where asked to."""
    options = _options().parse_args()
    nodes = cluster.made(nodes=options.nodes, gpus=options.gpus, seed=options.seed)
    at, took = _timed(lambda: cluster.seen(nodes))
    print(f"{options.nodes} nodes, {options.gpus} GPUs each: all read once in {took:.0f} ms")
    judge = verdicts.Judge(cluster.book(nodes), {})
    print("".join(f"{name:>18}" for name in COLUMNS))
    rows = [_row(at, judge, nodes, ask, rounds=options.rounds) for ask in ASKS]
    if options.json:
        options.json.write_text(json.dumps([dict(zip(COLUMNS, row, strict=True)) for row in rows], indent=1))


def _row(
    at: scene.Scene,
    judge: verdicts.Judge,
    nodes: list[values.Node],
    ask: tuple[int, int, int],
    *,
    rounds: int,
) -> list[str | float]:
    gib, percent, count = ask
    request = cluster.request(gib=gib, percent=percent, count=count)
    judge.verdict(request, homes.ANYWHERE, ())  # reads every node once

    def verdict() -> object:
        judge.room_changed(at.pool.name)
        return judge.verdict(request, homes.ANYWHERE, ())

    plain = policies.of(values.Strategy.BIN_PACK)
    _, baseline = _timed(
        lambda: choice.place(request, [inventory.room(at.pool, node) for node in nodes], plain)
    )
    _, judged = _best(verdict, rounds)
    returns, returned = _best(lambda: returning.plan(at, request), rounds)
    moves, moved = _best(lambda: moving.plan(at, request, cluster.mobility), rounds)
    _, suggested = _best(lambda: whatif.suggestions(at, request, returns=returns, moves=moves), rounds)
    times = [round(each, 1) for each in (baseline, judged, returned, moved, suggested)]
    row: list[str | float] = [f"{gib} GiB/{percent} % x {count}", *times]
    print("".join(f"{cell:>18}" for cell in row), flush=True)
    return row


def _best(work: Callable[[], T], rounds: int) -> tuple[T, float]:
    results = [_timed(work) for _ in range(rounds)]
    return min(results, key=lambda result: result[1])


def _timed(work: Callable[[], T]) -> tuple[T, float]:
    began = time.process_time()
    result = work()
    return result, 1000 * (time.process_time() - began)


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="room", description=__doc__)
    parser.add_argument("--nodes", type=int, default=5000)
    parser.add_argument("--gpus", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="where to write the table as JSON")
    return parser


if __name__ == "__main__":
    main()
