"""What every policy is: one look at one node, and its best devices with a score.

A policy is asked only about nodes with enough fitting devices. The lowest score wins over all nodes; a tie
goes to the smallest node name, so the same state always gives the same place. The policies themselves live
in ``policies``, one file each.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
from numpy import typing as npt

from vgpu import inventory, values

if TYPE_CHECKING:
    from vgpu.placement import grid  # it measures in this module's terms

WHOLE = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The devices a policy would take on a node, in the order the pod sees them; a lower score is better."""

    device_uuids: tuple[str, ...]
    score: float


@dataclass(frozen=True, slots=True)
class Pick:
    """A choice by the positions of the devices in their node's room."""

    score: float
    positions: tuple[int, ...]


class Policy(Protocol):
    """Chooses devices on a node and scores the result."""

    def choose(
        self, room: inventory.NodeRoom, fitting: tuple[inventory.DeviceRoom, ...], request: values.Request
    ) -> Choice:
        """The best ``request.device_count`` of the ``fitting`` devices; at least so many are given.

        Equal rooms and equal amounts asked get equal choices, whatever the names.
        """
        ...


@runtime_checkable
class Standing(Policy, Protocol):
    """A policy whose score of a node is the same whatever is asked of it."""

    def node_score(self, room: inventory.NodeRoom) -> float:
        """The score of every choice on this node."""
        ...


@runtime_checkable
class Bounded(Policy, Protocol):
    """A policy that can say cheaply what a node's score is not below, and looks closely at few nodes.

    It is asked to choose only where the bound is one of the ``shortlist`` lowest different ones, and there
    only on the first ``peers`` nodes by name.
    """

    @property
    def shortlist(self) -> int:
        """How many different bounds are looked at."""
        ...

    @property
    def peers(self) -> int:
        """How many nodes of each of these bounds are looked at."""
        ...

    def bound(
        self, room: inventory.NodeRoom, fitting: tuple[inventory.DeviceRoom, ...], request: values.Request
    ) -> float:
        """At most the score that ``choose`` would give, as exact numbers."""
        ...

    def batch(self, where: "grid.Grid") -> "Batch | None":
        """A fast way to the same answers on a grid, if there is one."""
        ...


class Batch(Protocol):
    """A bounded policy on the nodes of a grid, each under the number of its slot."""

    def bounds(self, slots: npt.NDArray[np.int64], request: values.Request) -> npt.NDArray[np.float64] | None:
        """A bound for each slot, infinite where the request does not fit; None if it cannot tell."""
        ...

    def choose(self, slot: int, request: values.Request) -> Pick | None:
        """The choice on a node that the request fits; None if it cannot tell."""
        ...


def worth(amount: values.Amounts, capacity: values.Amounts) -> int:
    """An amount as parts per million of one GPU: the mean over the dimensions the device has."""
    shares = [
        WHOLE * part // whole
        for part, whole in (
            (amount.memory_bytes, capacity.memory_bytes),
            (amount.compute_percent, capacity.compute_percent),
        )
        if whole > 0
    ]
    return sum(shares) // len(shares) if shares else 0


def free_worth(device: inventory.DeviceRoom) -> int:
    """The free part of a device, parts per million of one GPU."""
    return worth(device.free, device.capacity)


def asked_worth(devices: Iterable[inventory.DeviceRoom], request: values.Request) -> int:
    """What the request would take of these devices together, parts per million of one GPU."""
    return sum(worth(request.requests, device.capacity) for device in devices)


def idle(device: inventory.DeviceRoom) -> bool:
    """Whether nothing of the device is taken."""
    return device.free == device.capacity


def tightest(fitting: Sequence[inventory.DeviceRoom], count: int) -> list[inventory.DeviceRoom]:
    """The ``count`` devices with the least free, the first on ties."""
    return sorted(fitting, key=free_worth)[:count]


def candidates(
    fitting: Sequence[inventory.DeviceRoom], count: int
) -> Iterator[Sequence[inventory.DeviceRoom]]:
    """The choices worth a look: each different device for one GPU, the tightest ones for several."""
    if count != 1:
        yield tightest(fitting, count)
        return
    seen = set()
    for device in fitting:
        looks = (device.free, device.capacity, device.model)
        if looks not in seen:
            seen.add(looks)
            yield (device,)


def uuids(devices: Iterable[inventory.DeviceRoom]) -> tuple[str, ...]:
    """The names of devices in their order."""
    return tuple(device.uuid for device in devices)
