"""LeastFragmentation, the default: waste least of what the usual requests could still use.

Half of the measure is FGD's, half what a played future leaves over; on top, room on models that only some
requests can do with is dear to those that have a choice. docs/decisions/0002 says why and what was tried.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from vgpu import inventory, values
from vgpu.placement import fragmentation, mix, policy, scarcity


@dataclass(frozen=True, slots=True, kw_only=True)
class LeastFragmentation:
    """The smallest growth of fragmentation, as an exact number; a tie takes the tightest cards.

    ``supply`` is the capacity of each model; empty means that no model is scarce.
    """

    typical: mix.Mix
    supply: Mapping[str, values.Amounts] = field(default_factory=dict)
    rollout_weight: float = 0.5
    scarcity_weight: float = 0.2
    breadth: float = 0.5
    sequences: int = 64
    _stranded: fragmentation.Stranded = field(init=False, repr=False, compare=False)
    _unpacked: fragmentation.Unpacked = field(init=False, repr=False, compare=False)
    _price: Mapping[str, float] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_stranded", fragmentation.Stranded(self.typical, breadth=self.breadth))
        object.__setattr__(self, "_unpacked", fragmentation.Unpacked(self.typical, sequences=self.sequences))
        object.__setattr__(self, "_price", scarcity.prices(self.typical, self.supply))

    def choose(
        self, room: inventory.NodeRoom, fitting: tuple[inventory.DeviceRoom, ...], request: values.Request
    ) -> policy.Choice:
        """The devices whose loss fragments the node least, the tightest on ties."""
        before = fragmentation.state(room)
        best: policy.Choice | None = None
        by_room = policy.tightest(fitting, len(fitting))
        for devices in policy.candidates(by_room, request.device_count):
            score = self._score(before, devices, request)
            if best is None or score < best.score:
                best = policy.Choice(device_uuids=policy.uuids(devices), score=score)
        assert best is not None
        return best

    def _score(
        self, before: fragmentation.State, devices: Sequence[inventory.DeviceRoom], request: values.Request
    ) -> float:
        after = fragmentation.after(before, map(fragmentation.card, devices), request)
        stranded = self._stranded.of(after) - self._stranded.of(before)
        unpacked = self._unpacked.of(after) - self._unpacked.of(before)
        rest = (1 - self.rollout_weight) * stranded + self.rollout_weight * unpacked
        return rest + self.scarcity_weight * self._charge(devices, request)

    def _charge(self, devices: Iterable[inventory.DeviceRoom], request: values.Request) -> float:
        return sum(
            self._price.get(device.model, 0.0) * policy.worth(request.requests, device.capacity)
            for device in devices
        )
