"""FGD: fragmentation gradient descent, the published policy that others are measured against.

Source: Weng, Yang et al., "Beware of Fragmentation", USENIX ATC'23. The floor of the score is part of the
policy: near zero most nodes tie, and the order of names then packs like first fit.
"""

import math
from dataclasses import dataclass, field

from vgpu import inventory, values
from vgpu.placement import fragmentation, kernel, mix, policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Fgd:
    """The steepest descent of the fragmentation that the usual requests see."""

    typical: mix.Mix
    _measure: fragmentation.Stranded = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_measure", fragmentation.Stranded(self.typical, library=kernel.built()))

    def choose(
        self, room: inventory.NodeRoom, fitting: tuple[inventory.DeviceRoom, ...], request: values.Request
    ) -> policy.Choice:
        """The devices with the best whole-number score, the first on ties."""
        before = fragmentation.state(room)
        best: policy.Choice | None = None
        for devices in policy.candidates(fitting, request.device_count):
            after = fragmentation.after(before, map(fragmentation.card, devices), request)
            descent = self._measure.of(before) - self._measure.of(after)
            score = -math.floor(100 * _sigmoid(descent / policy.WHOLE))
            if best is None or score < best.score:
                best = policy.Choice(device_uuids=policy.uuids(devices), score=score)
        assert best is not None
        return best


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))
