"""``python -m placement.churn``: slices come and go, and what finds no room is lost.

Twenty nodes of eight 80 GiB cards; Poisson arrivals, exponential lives, sizes from 6,000 MiB to whole cards
with mixed compute, offered memory equal to what there is. Replaying a list without departures is ``replay``.
"""

import argparse
import heapq
import json
import random
import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from vgpu import inventory, values
from vgpu.placement import board, choice, mix, policy
from vgpu.placement.policies import best_fit, bin_pack, fgd, least_fragmentation, spread

CARD = values.Amounts(memory_bytes=80 * values.GIB, compute_percent=100)
WARM_UP = 0.2  # of the arrivals, not counted
# (weight, MiB, percent)
SIZES = [
    (20, 6_000, 10),
    (10, 6_000, 25),
    (15, 12_000, 10),
    (10, 12_000, 30),
    (12, 20_480, 25),
    (8, 24_576, 50),
    (8, 40_960, 30),
    (7, 40_960, 50),
    (4, 61_440, 60),
    (6, 81_920, 100),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Percent: memory allocated over time, memory rejected of memory asked, whole cards accepted of asked."""

    allocated: float
    rejected: float
    whole_cards: float


def sizes() -> dict[mix.Shape, float]:
    """What is asked, and how often."""
    return {_shape(mib, percent): float(weight) for weight, mib, percent in SIZES}


def contestants() -> Mapping[str, policy.Policy]:
    """The default beside what users know and what is published."""
    typical = mix.typical(sizes(), covered=1.0)
    return {
        "LeastFragmentation": least_fragmentation.LeastFragmentation(typical=typical),
        "FGD": fgd.Fgd(typical=typical),
        "BinPack": bin_pack.BinPack(),
        "BestFit": best_fit.BestFit(),
        "Spread": spread.Spread(),
    }


class Churn:
    """One stream of slices against one policy."""

    def __init__(self, chooser: policy.Policy, *, nodes: int = 20, gpus: int = 8) -> None:
        self._board = board.Board(chooser)
        self._rooms = {f"{at:03}": _room(f"{at:03}", gpus) for at in range(nodes)}
        self._capacity = nodes * gpus * CARD.memory_bytes
        self._leaving: list[tuple[float, int, str, str, values.Amounts]] = []
        self._held = 0
        for room in self._rooms.values():
            self._board.see(room)

    def run(self, arrivals: int, draw: random.Random) -> Outcome:
        """Plays the stream; mean life is 1."""
        shapes = sizes()
        mean = sum(w * shape.requests.memory_bytes for shape, w in shapes.items()) / sum(shapes.values())
        now = since = area = 0.0
        asked = lost = whole = whole_kept = 0
        for number in range(arrivals):
            gap = draw.expovariate(self._capacity / mean)
            (size,) = draw.choices(list(shapes), list(shapes.values()))
            life = draw.expovariate(1.0)
            counted = number >= WARM_UP * arrivals
            since = since if counted else now
            held = self._pass(now, now + gap)
            now += gap
            area += held if counted else 0.0
            placed = self._arrive(size, number, now + life)
            if counted:
                asked += size.requests.memory_bytes
                lost += 0 if placed else size.requests.memory_bytes
                whole += size.requests == CARD
                whole_kept += placed and size.requests == CARD
        return Outcome(
            allocated=100 * area / (now - since) / self._capacity,
            rejected=100 * lost / asked,
            whole_cards=100 * whole_kept / whole,
        )

    def _pass(self, now: float, until: float) -> float:
        """Lets slices leave; returns memory times time held meanwhile."""
        area = 0.0
        while self._leaving and self._leaving[0][0] <= until:
            at, _, node, uuid, size = heapq.heappop(self._leaving)
            area += self._held * (at - now)
            now = at
            self._give(node, uuid, size, 1)
        return area + self._held * (until - now)

    def _arrive(self, size: mix.Shape, number: int, leaves: float) -> bool:
        place = self._board.place(_request(size))
        if isinstance(place, choice.NoFit):
            return False
        (uuid,) = place.device_uuids
        heapq.heappush(self._leaving, (leaves, number, place.node, uuid, size.requests))
        self._give(place.node, uuid, size.requests, -1)
        return True

    def _give(self, node: str, uuid: str, size: values.Amounts, sign: int) -> None:
        room = self._rooms[node]
        devices = (
            replace(each, free=each.free + size.times(sign)) if each.uuid == uuid else each
            for each in room.devices
        )
        self._rooms[node] = replace(room, devices=tuple(devices))
        self._held -= sign * size.memory_bytes
        self._board.see(self._rooms[node])


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(prog="placement.churn", description=__doc__)
    parser.add_argument("--arrivals", type=int, default=5000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    found: dict[str, list[Outcome]] = {}
    print(f"{'policy':<19} {'memory allocated %':>18} {'memory rejected %':>18} {'whole cards kept %':>18}")
    for name, chooser in contestants().items():
        seeds = range(42, 42 + options.seeds)
        found[name] = [Churn(chooser).run(options.arrivals, random.Random(seed)) for seed in seeds]
        means = (
            statistics.mean(getattr(each, part) for each in found[name])
            for part in ("allocated", "rejected", "whole_cards")
        )
        print(f"{name:<19} " + " ".join(f"{mean:18.2f}" for mean in means), flush=True)
    if options.json:
        options.json.write_text(
            json.dumps(
                {name: [asdict(each) for each in outcomes] for name, outcomes in found.items()}, indent=1
            )
        )


def _shape(mib: int, percent: int) -> mix.Shape:
    return mix.Shape(requests=values.Amounts(memory_bytes=mib * values.MIB, compute_percent=percent))


def _request(size: mix.Shape) -> values.Request:
    return values.Request(
        slice_id="pod",
        pool_name="pool",
        claim=values.ClaimRef(namespace="bench", name="claim", uid="claim"),
        pod=values.PodRef(name="pod", uid="pod"),
        device_count=1,
        requests=size.requests,
        limits=size.requests,
    )


def _room(name: str, gpus: int) -> inventory.NodeRoom:
    devices = (
        inventory.DeviceRoom(uuid=f"{name}-{at}", capacity=CARD, free=CARD, model="A100")
        for at in range(gpus)
    )
    return inventory.NodeRoom(node=name, devices=tuple(devices))


if __name__ == "__main__":
    main()
