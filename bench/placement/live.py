"""``python -m placement.live``: a list replayed through the running extender, queue and kube-scheduler.

The nodes of the list become Nodes and VGPUNodes, its pods real pods with a claim per size, created in the
order of the stream; beside it stands the offline replay of the same stream. Pods that ask for no GPU are left
out of both, as kube-scheduler places them by rules of its own.
"""

import asyncio
import datetime
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from placement import contest, openb, replay
from vgpu.api import names
from vgpu.placement import choice, scarcity
from vgpu_e2e import background, gpunodes, objects, platform
from vgpu_e2e.rest import API, Object
from vgpu_e2e.team import Team

DATA = Path(__file__).parents[2] / ".." / "shared" / "data" / "openb"
CARD_GIB = 100  # of every model, so that a slice takes equal parts of memory and compute
MARKS = (100, 130)
PARALLEL = 16
QUIET_SECONDS = 20.0
LOOK_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Allocated GPU in percent of all at each mark, and how it came about."""

    listed: str
    seed: int
    pods: int
    bound: int
    seconds: float
    live: dict[int, float]
    told: dict[int, float]
    learning: dict[int, float]


@click.command(help=__doc__)
@click.option("--nodes", type=Path, default=DATA / "openb_node_list_gpu_node.csv.gz", help="A node list.")
@click.option("--pods", type=Path, default=DATA / "openb_pod_list_default.csv.gz", help="A pod list.")
@click.option("--seed", default=42, show_default=True, help="Of the order of pods and nodes.")
@click.option("--share", default=1.0, show_default=True, help="Every so many nodes only, such as 0.25.")
@click.option("--minutes", default=15.0, show_default=True, help="The most time for the pods of all marks.")
@click.option("--json", "output", type=click.Path(path_type=Path), help="Write the figures there as well.")
def main(nodes: Path, pods: Path, seed: int, share: float, minutes: float, output: Path | None) -> None:
    """Play, print both, tell how far apart they are."""
    try:
        machines, listed = openb.machines(nodes), [pod for pod in openb.pods(pods) if pod.gpus]
    except openb.BadListError as error:
        raise click.ClickException(str(error)) from error
    game = _game(machines, listed, seed=seed, share=share)
    live, bound, seconds = asyncio.run(_play(game, deadline=60 * minutes))
    told, learning = _offline(game, listed)
    found = Figures(
        listed=pods.name,
        seed=seed,
        pods=len(game.arriving),
        bound=bound,
        seconds=seconds,
        live=live,
        told=told,
        learning=learning,
    )
    print(*_table(found), sep="\n")
    if output is not None:
        output.write_text(json.dumps(asdict(found), indent=1) + "\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class Game:
    """The nodes in their order of ties, the pods in their order of arrival."""

    machines: list[openb.Machine]
    arriving: list[openb.Pod]
    capacity_milli: int

    def until(self, mark: int) -> int:
        """How many pods have arrived at this percentage of the capacity."""
        arrived = 0
        for number, pod in enumerate(self.arriving):
            arrived += pod.total_milli
            if 100 * arrived >= mark * self.capacity_milli:
                return number + 1
        return len(self.arriving)


def _game(machines: list[openb.Machine], listed: list[openb.Pod], *, seed: int, share: float) -> Game:
    draw = random.Random(seed)
    order = list(machines)
    draw.shuffle(order)
    order = order[: round(share * len(order))]
    capacity = replay.Cluster(order).capacity_milli
    if share < 1:  # the list in random order, as long as it has to be
        few = draw.sample(listed, round(share * len(listed)))
        return Game(
            machines=order,
            arriving=openb.stream(few, capacity_milli=capacity, draw=draw),
            capacity_milli=capacity,
        )
    arriving = openb.stream(listed, capacity_milli=capacity, draw=draw)
    return Game(machines=order, arriving=arriving, capacity_milli=capacity)


def _offline(game: Game, listed: list[openb.Pod]) -> tuple[dict[int, float], dict[int, float]]:
    """The same stream without a cluster: with the mix of the list known beforehand, and learned."""
    supply = scarcity.supply(replay.Cluster(game.machines).rooms.values())
    told = contest.POLICIES["LeastFragmentation"](openb.counts(listed), supply)
    return _allocated(game, replay.on_board(told)), _allocated(game, replay.Learning())


def _allocated(game: Game, player: replay.Chooser) -> dict[int, float]:
    cluster = replay.Cluster(game.machines)
    for room in cluster.rooms.values():
        player.see(room)
    found, marks = 0, {game.until(mark): mark for mark in MARKS}
    reached: dict[int, float] = {}
    for number, pod in enumerate(game.arriving, start=1):
        asked = replay.request(pod, number)
        place = player.place(asked)
        if isinstance(place, choice.Placement):
            found += pod.total_milli
            player.see(cluster.take(asked, place))
        if number in marks:
            reached[marks[number]] = 100 * found / game.capacity_milli
    return reached


async def _play(game: Game, *, deadline: float) -> tuple[dict[int, float], int, float]:
    """Allocated at each mark, pods bound, seconds from the first pod to the last binding."""
    async with platform.Bed(nodes=0, lease_seconds=30, log_level="warning") as bed:
        _progress(f"making {len(game.machines)} nodes")
        await _make_nodes(bed.api, game.machines)
        await bed.apply([_pool()])
        team = Team(bed.api, "openb")
        await team.arrive()
        await bed.apply(list(_claims(game.arriving, team.namespace)))
        reached: dict[int, float] = {}
        began, created, last = time.perf_counter(), 0, 0.0
        for mark in MARKS:
            until = game.until(mark)
            await _create(team, game.arriving, range(created, until))
            created = until
            slices, at = await _settled(bed.api, created, deadline=began + deadline)
            last = at - began
            reached[mark] = 100 * _held_milli(slices) / game.capacity_milli
            _progress(f"{mark} % arrived: {len(slices)} of {created} bound, {reached[mark]:.2f} % allocated")
            await _tell_why(team)
        return reached, len(slices), last


async def _make_nodes(api: API, machines: list[openb.Machine]) -> None:
    turns, now = asyncio.Semaphore(gpunodes.PARALLEL), datetime.datetime.now(datetime.UTC)

    async def make(name: str, machine: openb.Machine) -> None:
        shape = gpunodes.NodeShape(
            gpus=machine.gpus,
            model=gpunodes.GPUModel(name=machine.model, memory_bytes=CARD_GIB * gpunodes.GIB),
            cpus=machine.cpu_milli // 1000,
            memory_bytes=machine.memory_bytes,
            pods=1000,
            overcommit_compute_percent=100,
        )
        status = gpunodes.vgpu_node_status(name, shape, now=now) | {
            "allocatable": {"cpuMilli": machine.cpu_milli, "memory": str(machine.memory_bytes)}
        }
        async with turns:
            owner = await api.create(gpunodes.NODES, gpunodes.node(name, shape, now=now))
            await api.create(gpunodes.VGPU_NODES, gpunodes.vgpu_node(owner))
            await api.patch(f"{gpunodes.VGPU_NODES}/{name}/status", {"status": status})

    await background.together(make(f"{rank:05}", machine) for rank, machine in enumerate(machines))


def _pool() -> Object:
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.POOL_KIND,
        "metadata": {"name": "openb", "annotations": {names.DEFAULT_POOL_ANNOTATION: "true"}},
        "spec": {
            "nodeSelector": {"matchLabels": {gpunodes.LABEL: "true"}},
            "overcommit": {"memoryPercent": 100, "computePercent": 100},
            "placement": {"strategy": "LeastFragmentation"},
            "queue": {"ungateAfterSeconds": 86_400},
        },
    }


def _claims(pods: Iterable[openb.Pod], namespace: str) -> Iterator[Object]:
    """One for each size of slice; the pod's CPU and memory are its own."""
    for name, pod in {_claim_name(pod): pod for pod in pods}.items():
        percent = pod.gpu_milli // 10
        found = objects.claim(
            name,
            namespace,
            requests=objects.amounts(f"{percent * CARD_GIB // 100}Gi", percent),
            device_count=pod.gpus,
        )
        if pod.shape.models:
            accepted = {"key": "model", "operator": "In", "values": sorted(pod.shape.models)}
            found["spec"]["deviceSelector"] = {"matchExpressions": [accepted]}
        yield found


def _claim_name(pod: openb.Pod) -> str:
    models = "-".join(sorted(pod.shape.models)).lower()
    return f"{pod.gpus}x{pod.gpu_milli // 10}" + (f"-{models}" if models else "")


async def _create(team: Team, pods: list[openb.Pod], numbers: range) -> None:
    """Creates the pods in their order, a few at the same time."""
    turns = asyncio.Semaphore(PARALLEL)

    async def create(number: int) -> None:
        pod = pods[number]
        asked = {"cpu": f"{pod.shape.pod_cpu_milli}m", "memory": str(pod.memory_bytes)}
        container = {"name": "main", "image": objects.IMAGE, "resources": {"requests": asked}}
        made = objects.pod(f"pod-{number:05}", _claim_name(pod), team.namespace, containers=[container])
        try:
            await team.api.create(team.pods_path, made)
        finally:
            turns.release()

    async with asyncio.TaskGroup() as group:
        for number in numbers:
            await turns.acquire()
            group.create_task(create(number))


async def _settled(api: API, created: int, *, deadline: float) -> tuple[list[Object], float]:
    """The slices once every pod has one, none has come for long, or the time is over; when the last came."""
    seen, since = -1, time.perf_counter()
    while True:
        nodes, _ = await api.list(gpunodes.VGPU_NODES)
        slices = [each for node in nodes for each in node["spec"].get("slices", {}).values()]
        now = time.perf_counter()
        if len(slices) != seen:
            seen, since = len(slices), now
            _progress(f"{seen} slices of {created} pods")
        if seen == created or now - since > QUIET_SECONDS:
            return slices, since
        if now > deadline:
            _progress("the time is over")
            return slices, since
        await asyncio.sleep(LOOK_SECONDS)


async def _tell_why(team: Team) -> None:
    """What the claims of the pods that wait say, the first few; a bed that is too slow shows here."""
    claims, _ = await team.api.list(team.claims_path)
    conditions = (each for claim in claims for each in claim.get("status", {}).get("conditions", []))
    waiting = Counter(
        each["message"] for each in conditions if (each["type"], each["status"]) == ("Bound", "False")
    )
    for message, count in waiting.most_common(3):
        _progress(f"{count} claims: {message}")


def _held_milli(slices: Iterable[Object]) -> int:
    return sum(10 * each["requests"]["computePercent"] * len(each["deviceUUIDs"]) for each in slices)


def _table(found: Figures) -> Iterator[str]:
    yield f"{found.listed} (seed {found.seed}): {found.bound} of {found.pods} bound in {found.seconds:.0f} s"
    yield f"{'allocated % at':<34} " + " ".join(f"{mark:>6} %" for mark in MARKS)
    for name, figures in (
        ("through the running platform", found.live),
        ("offline, the mix learned", found.learning),
        ("offline, the mix known", found.told),
    ):
        yield f"{name:<34} " + " ".join(f"{figures[mark]:8.2f}" for mark in MARKS)
    apart = (found.live[mark] - found.learning[mark] for mark in MARKS)
    yield f"{'live - offline, learned':<34} " + " ".join(f"{each:+8.2f}" for each in apart)


def _progress(line: str) -> None:
    print(f"placement.live: {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
