"""Every policy on every list with every seed: who plays, and what comes out.

One policy object serves all seeds of a list, as one serves a pool for long; nothing else is shared.
"""

import random
import statistics
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from placement import openb, replay
from vgpu import values
from vgpu.placement import fragmentation, kernel, mix, policies, policy, scarcity
from vgpu.placement.policies import (
    best_fit,
    bin_pack,
    dot_prod,
    fgd,
    gpu_clustering,
    gpu_packing,
    least_fragmentation,
    random_fit,
    spread,
)

Supply = dict[str, values.Amounts]
Asked = Mapping[mix.Shape, int]
Make = Callable[[Asked, Supply], policy.Policy]

LEARNING = "LearntMix"  # LeastFragmentation that is not told the mix of the list
PUBLISHED_COVER = 0.95  # of the pods: the typical ones in the published measure

POLICIES: dict[str, Make] = {
    "LeastFragmentation": lambda asked, supply: least_fragmentation.LeastFragmentation(
        typical=mix.typical(asked), supply=supply
    ),
    LEARNING: lambda *_: policies.of(values.Strategy.LEAST_FRAGMENTATION),
    "FGD": lambda asked, _: fgd.Fgd(typical=mix.typical(asked, covered=PUBLISHED_COVER)),
    "BestFit": lambda *_: best_fit.BestFit(),
    "GpuPacking": lambda *_: gpu_packing.GpuPacking(),
    "GpuClustering": lambda *_: gpu_clustering.GpuClustering(),
    "DotProd": lambda *_: dot_prod.DotProd(),
    "BinPack": lambda *_: bin_pack.BinPack(),
    "Spread": lambda *_: spread.Spread(),
    "Random": lambda *_: random_fit.RandomFit(draw=random.Random(0)),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One policy on one list: a replay per seed."""

    listed: str
    policy: str
    seeds: tuple[int, ...]
    outcomes: tuple[replay.Outcome, ...]

    def allocated(self, mark: int) -> float:
        """Mean allocated % at this mark."""
        return statistics.mean(each.allocated.get(mark, float("nan")) for each in self.outcomes)

    def spread(self, mark: int) -> float:
        """Standard deviation over the seeds."""
        found = [each.allocated.get(mark, float("nan")) for each in self.outcomes]
        return statistics.stdev(found) if len(found) > 1 else 0.0

    def fragmented(self, mark: int) -> float:
        """Mean fragmentation %, in the published measure."""
        return statistics.mean(each.fragmented.get(mark, float("nan")) for each in self.outcomes)

    @property
    def milliseconds(self) -> float:
        """Mean time of one decision."""
        seconds = sum(each.seconds for each in self.outcomes)
        return 1000 * seconds / max(1, sum(each.decisions for each in self.outcomes))


def contest(
    nodes: Path, lists: dict[str, Path], *, policies: list[str], seeds: range, say: Callable[[str], None]
) -> Iterator[Result]:
    """Plays them all, list by list."""
    machines = openb.machines(nodes)
    for listed, path in lists.items():
        pods = openb.pods(path)
        for name in policies:
            say(f"{listed}: {name}, {len(seeds)} seeds")
            yield _play(machines, pods, listed=listed, name=name, seeds=seeds)


def _play(
    machines: list[openb.Machine], pods: list[openb.Pod], *, listed: str, name: str, seeds: range
) -> Result:
    asked = openb.counts(pods)
    supply = scarcity.supply(replay.Cluster(machines).rooms.values())
    chooser = POLICIES[name](asked, supply)
    measure = fragmentation.Stranded(mix.typical(asked, covered=PUBLISHED_COVER), library=kernel.built())
    outcomes = tuple(
        _replay(machines, pods, name=name, chooser=chooser, measure=measure, seed=seed) for seed in seeds
    )
    return Result(listed=listed, policy=name, seeds=tuple(seeds), outcomes=outcomes)


def _replay(
    machines: list[openb.Machine],
    pods: list[openb.Pod],
    *,
    name: str,
    chooser: policy.Policy,
    measure: fragmentation.Stranded,
    seed: int,
) -> replay.Outcome:
    """One seed: it gives the order of the pods, the pods added, and the order of the nodes in a tie."""
    draw = random.Random(seed)
    order = list(machines)
    draw.shuffle(order)
    cluster = replay.Cluster(order)
    arriving = openb.stream(pods, capacity_milli=cluster.capacity_milli, draw=draw)
    return replay.play(cluster, arriving, chooser=_player(name, chooser, draw), measure=measure)


def _player(name: str, chooser: policy.Policy, draw: random.Random) -> replay.Chooser:
    if name == LEARNING:
        return replay.Learning()
    return replay.Drawn(draw) if isinstance(chooser, random_fit.RandomFit) else replay.on_board(chooser)
