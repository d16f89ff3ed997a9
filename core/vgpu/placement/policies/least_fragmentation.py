"""LeastFragmentation, the default: waste least of what the usual requests could still use.

Half of the measure is FGD's, half what a played future leaves over; on top, room on models that only some
requests can do with is dear to those that have a choice. docs/decisions/0002 says why and what was tried.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vgpu import inventory, values
from vgpu.placement import batch, fragmentation, grid, kernel, mix, policy, scarcity


@dataclass(frozen=True, slots=True, kw_only=True)
class LeastFragmentation:
    """The smallest growth of fragmentation, as an exact number; a tie takes the tightest cards.

    ``supply`` is the capacity of each model; empty means that no model is scarce.
    """

    typical: mix.Mix
    supply: Mapping[str, values.Amounts] = field(default_factory=dict)
    rollout_weight: float = 0.5
    scarcity_weight: float = 0.2
    bulk: float = 0.5
    sequences: int = 32
    shortlist: int = 16
    peers: int = 2
    library: Path | None = field(default_factory=kernel.built)
    _stranded: fragmentation.Stranded = field(init=False, repr=False, compare=False)
    _unpacked: fragmentation.Unpacked = field(init=False, repr=False, compare=False)
    _price: Mapping[str, float] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(
            self,
            "_stranded",
            fragmentation.Stranded(self.typical, bulk=self.bulk, library=self.library),
        )
        unpacked = fragmentation.Unpacked(self.typical, sequences=self.sequences, library=self.library)
        object.__setattr__(self, "_unpacked", unpacked)
        object.__setattr__(self, "_price", scarcity.prices(self.typical, self.supply))

    def choose(
        self, room: inventory.NodeRoom, fitting: tuple[inventory.DeviceRoom, ...], request: values.Request
    ) -> policy.Choice:
        """The devices whose loss fragments the node least, the tightest on ties."""
        before = fragmentation.state(room)
        best: tuple[float, int, _Move] | None = None
        moves = enumerate(self._moves(before, fitting, request))
        for order, move in sorted(moves, key=lambda pair: (pair[1].bound(self), pair[0])):
            if best is not None and move.bound(self) > best[0]:
                break
            found = (move.score(self, self._leftover(before, move)), order, move)
            best = found if best is None else min(best, found, key=lambda each: each[:2])
        assert best is not None
        return policy.Choice(device_uuids=policy.uuids(best[2].devices), score=best[0])

    def bound(
        self, room: inventory.NodeRoom, fitting: tuple[inventory.DeviceRoom, ...], request: values.Request
    ) -> float:
        """A score that no choice on this node is below, without playing the future."""
        moves = self._moves(fragmentation.state(room), fitting, request)
        return min(move.bound(self) for move in moves)

    def batch(self, where: grid.Grid) -> batch.Batch | None:
        """The same answers in C, where the kernel has been built."""
        if self.library is None:
            return None
        return batch.Batch(
            where,
            library=self.library,
            stranded=self._stranded,
            unpacked=self._unpacked,
            prices=self._price,
            parts=(1 - self.rollout_weight, self.rollout_weight, self.scarcity_weight),
        )

    def _moves(
        self,
        before: fragmentation.State,
        fitting: tuple[inventory.DeviceRoom, ...],
        request: values.Request,
    ) -> Iterator["_Move"]:
        by_room = policy.tightest(fitting, len(fitting))
        for devices in policy.candidates(by_room, request.device_count):
            after = fragmentation.after(before, map(fragmentation.card, devices), request)
            yield _Move(
                devices=devices,
                after=after,
                stranded=self._stranded.of(after) - self._stranded.of(before),
                taken=policy.asked_worth(devices, request),
                charge=self._charge(devices, request),
            )

    def _leftover(self, before: fragmentation.State, move: "_Move") -> float:
        """How the future's left-over changes; it cannot fall by more than is taken now."""
        change = self._unpacked.of(move.after) - self._unpacked.of(before)
        return max(change, -float(move.taken))

    def _charge(self, devices: Sequence[inventory.DeviceRoom], request: values.Request) -> float:
        charge = 0.0
        for device in devices:  # one after the other, as in C
            charge += self._price.get(device.model, 0.0) * policy.worth(request.requests, device.capacity)
        return charge


@dataclass(frozen=True, slots=True, kw_only=True)
class _Move:
    """Devices that could be taken, and what that does to their node, parts per million of one GPU."""

    devices: Sequence[inventory.DeviceRoom]
    after: fragmentation.State
    stranded: float
    taken: int
    charge: float

    def score(self, weights: LeastFragmentation, leftover: float) -> float:
        """The growth of fragmentation and the price of the model."""
        rest = (1 - weights.rollout_weight) * self.stranded + weights.rollout_weight * leftover
        return rest + weights.scarcity_weight * self.charge

    def bound(self, weights: LeastFragmentation) -> float:
        """The score if the future loses nothing by it."""
        return self.score(weights, -float(self.taken))
