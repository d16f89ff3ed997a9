"""Plays a stream of pods against a cluster: arrivals only, a pod that fits nowhere is dropped but counts.

The decisions are made by the code that places in production. Reading lists and printing live elsewhere.
"""

import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Protocol

from placement import openb
from vgpu import inventory, values
from vgpu.placement import board, choice, demand, fragmentation, outlook, policy
from vgpu.placement.policies import gpu_clustering, random_fit

MARKS = (100, 110, 130)
DRAWS = 100


class Chooser(Protocol):
    """Keeps rooms and places requests in them."""

    def see(self, room: inventory.NodeRoom) -> None:
        """Take in a new or changed room."""
        ...

    def place(self, request: values.Request) -> choice.Placement | choice.NoFit:
        """The place for a request."""
        ...


class Drawn:
    """Any node that fits, each as likely: a few draws first, all nodes where those have no luck."""

    def __init__(self, draw: random.Random) -> None:
        self._draw = draw
        self._policy = random_fit.RandomFit(draw=draw)
        self._rooms: dict[str, inventory.NodeRoom] = {}
        self._names: list[str] = []

    def see(self, room: inventory.NodeRoom) -> None:
        """Take in a new or changed room."""
        if room.node not in self._rooms:
            self._names.append(room.node)
        self._rooms[room.node] = room

    def place(self, request: values.Request) -> choice.Placement | choice.NoFit:
        """The place for a request."""
        for _ in range(DRAWS):
            room = self._rooms[self._draw.choice(self._names)]
            place = choice.place(request, [room], self._policy)
            if isinstance(place, choice.Placement):
                return place
        return choice.place(request, self._rooms.values(), self._policy)


class Learning:
    """LeastFragmentation as a pool has it: the mix is not known beforehand but learned on the way."""

    def __init__(self) -> None:
        self._demand = demand.Demand()
        self._outlook = outlook.Outlook(values.Strategy.LEAST_FRAGMENTATION, self._demand)

    def see(self, room: inventory.NodeRoom) -> None:
        """Take in a new or changed room."""
        self._outlook.see(room)

    def place(self, request: values.Request) -> choice.Placement | choice.NoFit:
        """The place for a request; all arrive at one moment."""
        self._demand.ask(request)
        return self._outlook.board(now=0.0).place(request)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one replay ended with, percent of all GPUs at each mark of percent arrived."""

    allocated: dict[int, float]
    fragmented: dict[int, float]
    decisions: int
    seconds: float


class Cluster:
    """The rooms of all nodes as pods take them; node names are ranks in a tie order."""

    def __init__(self, machines: Iterable[openb.Machine]) -> None:
        self.rooms = {f"{rank:05}": _room(f"{rank:05}", machine) for rank, machine in enumerate(machines)}

    @property
    def capacity_milli(self) -> int:
        """All GPU of the cluster."""
        return sum(1000 * len(room.devices) for room in self.rooms.values())

    def take(self, request: values.Request, place: choice.Placement) -> inventory.NodeRoom:
        """The room that is left on the node of ``place``."""
        room = self.rooms[place.node]
        taken = [device for device in room.devices if device.uuid in place.device_uuids]
        sizes = {gpu_clustering.size(taken, request)} if taken else set()
        self.rooms[place.node] = left = replace(
            room,
            devices=tuple(_less(device, request) if device in taken else device for device in room.devices),
            cpu_milli=(room.cpu_milli or 0) - request.pod_cpu_milli,
            memory_bytes=(room.memory_bytes or 0) - request.pod_memory_bytes,
            pod_sizes=room.pod_sizes | sizes,
        )
        return left


def play(
    cluster: Cluster,
    arriving: list[openb.Pod],
    *,
    chooser: Chooser,
    measure: fragmentation.Stranded,
    clock: Callable[[], float] = time.perf_counter,
) -> Outcome:
    """Allocated and fragmented GPU, means over the arrivals that fall on each mark; seconds of deciding."""
    for room in cluster.rooms.values():
        chooser.see(room)
    capacity = cluster.capacity_milli
    arrived = allocated = 0
    samples: dict[int, list[float]] = defaultdict(list)
    fragmented: dict[int, float] = {}
    seconds = 0.0
    for number, pod in enumerate(arriving):
        asked = request(pod, number)
        started = clock()
        place = chooser.place(asked)
        seconds += clock() - started
        arrived += pod.total_milli
        if isinstance(place, choice.Placement):
            allocated += pod.total_milli
            chooser.see(cluster.take(asked, place))
        mark = round(100 * arrived / capacity)
        if mark in MARKS:
            samples[mark].append(100 * allocated / capacity)
            if mark not in fragmented:
                fragmented[mark] = _fragmented(cluster, measure)
    means = {mark: sum(found) / len(found) for mark, found in sorted(samples.items())}
    return Outcome(allocated=means, fragmented=fragmented, decisions=len(arriving), seconds=seconds)


def on_board(chooser: policy.Policy) -> Chooser:
    """The fast way to place, for policies that do not draw."""
    return board.Board(chooser)


def request(pod: openb.Pod, number: int) -> values.Request:
    """The pod as placement meets it."""
    shape = pod.shape
    return values.Request(
        slice_id=str(number),
        pool_name="openb",
        claim=_CLAIM,
        pod=values.PodRef(
            name=pod.name,
            uid=str(number),
            cpu_milli=shape.pod_cpu_milli,
            memory_bytes=pod.memory_bytes,
        ),
        device_count=shape.device_count,
        requests=shape.requests,
        limits=shape.requests,
        models=shape.models,
    )


def _fragmented(cluster: Cluster, measure: fragmentation.Stranded) -> float:
    parts = sum(measure.of(fragmentation.state(room)) for room in cluster.rooms.values())
    return 100 * parts / policy.WHOLE / (cluster.capacity_milli / 1000)


def _room(name: str, machine: openb.Machine) -> inventory.NodeRoom:
    return inventory.NodeRoom(
        node=name,
        devices=tuple(
            inventory.DeviceRoom(
                uuid=str(index), capacity=openb.ONE_GPU, free=openb.ONE_GPU, model=machine.model
            )
            for index in range(machine.gpus)
        ),
        cpu_milli=machine.cpu_milli,
        memory_bytes=machine.memory_bytes,
    )


def _less(device: inventory.DeviceRoom, request: values.Request) -> inventory.DeviceRoom:
    return replace(device, free=device.free - request.requests)


_CLAIM = values.ClaimRef(namespace="openb", name="pod", uid="pod")
