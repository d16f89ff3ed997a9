"""Which sizes are asked for, and how often: what a policy takes the unknown future to be like.

A mix is a value; ``Memory`` learns one from the requests it is shown and forgets slowly. What a mix is good
for is the policies' business.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from vgpu import values

COVERED = 0.99
MOST_SCALE = 1024.0
LEAST_WEIGHT = 0.001  # of a request: what weighs less is forgotten


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A size of request: amounts per GPU, how many GPUs, CPU of the pod, and the models it accepts."""

    requests: values.Amounts
    device_count: int = 1
    pod_cpu_milli: int = 0
    models: frozenset[str] = frozenset()

    @property
    def order(self) -> tuple[int, int, int, int, list[str]]:
        """A total order, so that equal counts are told in one way."""
        asked = self.requests
        names = sorted(self.models)
        return self.device_count, asked.memory_bytes, asked.compute_percent, self.pod_cpu_milli, names


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """Shapes with their popularity; the popularities of a mix that is not empty add up to 1."""

    popularity: Mapping[Shape, float]


def shape(request: values.Request) -> Shape:
    """The size of a request."""
    return Shape(
        requests=request.requests,
        device_count=request.device_count,
        pod_cpu_milli=request.pod_cpu_milli,
        models=request.models,
    )


def shape_of(slice_: values.Slice) -> Shape:
    """The size of the request that a slice was made for, as far as the ledger tells: any model would do."""
    return Shape(
        requests=slice_.requests,
        device_count=len(slice_.device_uuids),
        pod_cpu_milli=slice_.pods[0].cpu_milli if slice_.pods else 0,
    )


def typical(weights: Mapping[Shape, float], *, covered: float = COVERED) -> Mix:
    """The most frequent shapes that together make up at least the ``covered`` part of all weight."""
    ranked = sorted(weights, key=lambda shape: (-weights[shape], shape.order))
    wanted = covered * sum(weights.values())
    kept: dict[Shape, float] = {}
    total = 0.0
    for candidate in ranked:
        if total >= wanted:
            break
        kept[candidate] = weights[candidate]
        total += weights[candidate]
    return Mix(popularity={shape: weight / total for shape, weight in kept.items()})


def distance(one: Mix, other: Mix) -> float:
    """How far two mixes are apart, 0 to 1: the popularity that would have to change its shape."""
    shapes = one.popularity.keys() | other.popularity.keys()
    return 0.5 * sum(abs(one.popularity.get(s, 0.0) - other.popularity.get(s, 0.0)) for s in shapes)


def _prior(sizes: Iterable[tuple[int, int, int, int]]) -> dict[Shape, float]:
    return {
        Shape(
            requests=values.Amounts(memory_bytes=gib * values.GIB, compute_percent=percent),
            device_count=count,
        ): weight
        for weight, count, gib, percent in sizes
    }


# What an inference cluster is asked for before it is known: as many slices as whole GPUs, few large groups
# (weight, GPUs, GiB, percent). Public traces agree on the order: half slices, most of the rest one GPU.
_GUESS = _prior(
    [
        (10, 1, 4, 10),
        (15, 1, 8, 20),
        (20, 1, 16, 25),
        (15, 1, 24, 50),
        (10, 1, 40, 50),
        (24, 1, 72, 100),
        (3, 2, 72, 100),
        (2, 4, 72, 100),
        (1, 8, 72, 100),
    ]
)
PRIOR = typical(_GUESS, covered=1.0)


@dataclass(slots=True, kw_only=True)
class Memory:
    """Learns the mix from sizes; what was asked counts half after each ``half_life_seconds``.

    It starts with a guess that counts as ``guess_weight`` requests and never fades below that, so a cluster
    that has seen nothing for long expects the usual again. Time comes in as ``now``.
    """

    half_life_seconds: float = 7 * 86_400.0
    guess_weight: float = 20.0
    most_shapes: int = 64
    tolerance: float = 0.05
    _weights: dict[Shape, float] = field(default_factory=dict)  # as of ``_since``: later ones weigh more
    _since: float | None = None
    _mix: Mix = PRIOR

    def see(self, size: Shape, *, now: float, count: int = 1) -> None:
        """Count requests of this size."""
        scale = self._scale(now)
        self._weights[size] = self._weights.get(size, 0.0) + count * scale

    def mix(self, *, now: float) -> Mix:
        """The typical shapes; the same object as before until the truth is ``tolerance`` away from it."""
        scale = self._scale(now)
        blended = {size: weight / scale for size, weight in self._weights.items()}
        for guessed, popularity in PRIOR.popularity.items():
            blended[guessed] = blended.get(guessed, 0.0) + self.guess_weight * popularity
        ranked = sorted(blended, key=lambda size: (-blended[size], size.order))[: self.most_shapes]
        fresh = typical({size: blended[size] for size in ranked})
        if distance(fresh, self._mix) > self.tolerance:
            self._mix = fresh
        return self._mix

    def _scale(self, now: float) -> float:
        """What a request of now weighs; weights move to a later time before that grows beyond measure."""
        if self._since is None:
            self._since = now
        scale: float = 2.0 ** (max(0.0, now - self._since) / self.half_life_seconds)
        if scale < MOST_SCALE:
            return scale
        moved = {size: weight / scale for size, weight in self._weights.items()}
        self._weights = {size: weight for size, weight in moved.items() if weight >= LEAST_WEIGHT}
        self._since = now
        return 1.0
