"""``python -m placement.speed``: the cost of one decision in a large cluster, warm and cold.

A cluster is filled with slices of many sizes; then pods come and go, so that nodes keep changing between the
decisions that are timed. Milliseconds are of CPU time, as a decision waits for nothing: a busy machine does
not change them much.
"""

import argparse
import random
import statistics
import time
from dataclasses import replace

from vgpu import inventory, values
from vgpu.placement import board, choice, mix, policies

CARD = values.Amounts(memory_bytes=80 * values.GIB, compute_percent=100)
SIZES = [
    values.Amounts(memory_bytes=gib * values.GIB, compute_percent=percent)
    for gib in (2, 4, 6, 8, 12, 16, 20, 24, 32, 40)
    for percent in (10, 20, 25, 30, 50)
]


class Cluster:
    """A board and the slices on it."""

    def __init__(self, *, nodes: int, gpus: int) -> None:
        self.board = board.Board(policies.of(values.Strategy.LEAST_FRAGMENTATION))
        self._names: list[str] = []
        self._rooms = {f"node-{at:05}": _room(f"node-{at:05}", gpus) for at in range(nodes)}
        self._held: list[tuple[str, str, values.Amounts]] = []
        for room in self._rooms.values():
            self.board.see(room)

    def fill(self, load: float, draw: random.Random) -> None:
        """Puts slices anywhere until this part of the devices' worth is taken."""
        for room in self._rooms.values():
            for device in room.devices:
                free = CARD
                while draw.random() < load and free.covers(size := draw.choice(SIZES)):
                    free -= size
                    self._held.append((room.node, device.uuid, size))
                self._set(room.node, device.uuid, free)
        for name in self._rooms:
            self.board.see(self._rooms[name])

    def arrive(self, size: values.Amounts) -> choice.Placement | choice.NoFit:
        """Places a slice on any of the nodes, by name as kube-scheduler offers them, and keeps it."""
        self._names = self._names or list(self._rooms)
        place = self.board.place(request(size), self._names)
        if isinstance(place, choice.Placement):
            self._held.append((place.node, place.device_uuids[0], size))
            self._give(self._held[-1], -1)
        return place

    def leave(self, draw: random.Random) -> None:
        """Ends a random slice."""
        at = draw.randrange(len(self._held))
        self._held[at], self._held[-1] = self._held[-1], self._held[at]
        self._give(self._held.pop(), 1)

    def _give(self, held: tuple[str, str, values.Amounts], sign: int) -> None:
        node, uuid, size = held
        free = next(device.free for device in self._rooms[node].devices if device.uuid == uuid)
        self._set(node, uuid, free + size.times(sign))
        self.board.see(self._rooms[node])

    def _set(self, node: str, uuid: str, free: values.Amounts) -> None:
        room = self._rooms[node]
        devices = (replace(each, free=free) if each.uuid == uuid else each for each in room.devices)
        self._rooms[node] = replace(room, devices=tuple(devices))


def request(size: values.Amounts) -> values.Request:
    """A pod that asks for a slice of this size."""
    return values.Request(
        slice_id="pod",
        pool_name="pool",
        claim=values.ClaimRef(namespace="bench", name="claim", uid="claim"),
        pod=values.PodRef(name="pod", uid="pod"),
        device_count=1,
        requests=size,
        limits=size,
    )


def main() -> None:
    """Prints the times in milliseconds."""
    parser = argparse.ArgumentParser(prog="placement.speed", description=__doc__)
    parser.add_argument("--nodes", type=int, default=5000)
    parser.add_argument("--gpus", type=int, default=8)
    parser.add_argument("--load", type=float, default=0.7)
    parser.add_argument("--decisions", type=int, default=1000)
    options = parser.parse_args()
    draw = random.Random(42)
    cluster = Cluster(nodes=options.nodes, gpus=options.gpus)
    cluster.fill(options.load, draw)
    guessed = [shape.requests for shape in mix.PRIOR.popularity if shape.device_count == 1]
    _play(cluster, guessed, options.decisions, draw)
    learned = _learned()
    print(f"the mix is learned, {len(learned.popularity)} shapes")
    cluster.board.follow(policies.of(values.Strategy.LEAST_FRAGMENTATION, learned))
    _play(cluster, draw.sample(SIZES, 20), options.decisions, draw)


def _play(cluster: Cluster, asked: list[values.Amounts], decisions: int, draw: random.Random) -> None:
    _report("first decision of a size", [_timed(cluster, size) for size in asked])
    warm = []
    for _ in range(decisions):
        cluster.leave(draw)
        warm.append(_timed(cluster, draw.choice(asked)))
    _report("warm, a slice ends between two", warm)
    huge = values.Amounts(memory_bytes=81 * values.GIB, compute_percent=100)
    _report("does not fit, with reasons", [_timed(cluster, huge) for _ in range(10)])


def _learned() -> mix.Mix:
    """What a pool expects that has been asked for every size often."""
    memory = mix.Memory()
    for size in SIZES:
        memory.see(mix.Shape(requests=size), now=0, count=40)
    return memory.mix(now=0)


def _timed(cluster: Cluster, size: values.Amounts) -> float:
    started = time.process_time()
    cluster.arrive(size)
    return 1000 * (time.process_time() - started)


def _report(name: str, times: list[float]) -> None:
    times = sorted(times)
    p99 = times[min(len(times) - 1, int(0.99 * len(times)))]
    print(f"{name:<34} p50 {statistics.median(times):9.3f} ms  p99 {p99:9.3f} ms  n {len(times)}", flush=True)


def _room(name: str, gpus: int) -> inventory.NodeRoom:
    devices = (
        inventory.DeviceRoom(uuid=f"{name}-{at}", capacity=CARD, free=CARD, model="A100")
        for at in range(gpus)
    )
    return inventory.NodeRoom(node=name, devices=tuple(devices))


if __name__ == "__main__":
    main()
