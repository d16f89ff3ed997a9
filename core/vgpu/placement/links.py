"""How near GPUs are to each other, and which of them belong together: NVLink first, then NUMA, then the node.

A set is as near as its pairs: first the pairs that NVLink joins, then its lanes, then what the pairs share
otherwise. The search is exact as long as it stays within its steps, which 8 of 16 GPUs always do.
"""

import functools
from collections.abc import Sequence

from vgpu import inventory, values

STEPS = 25_000
"""Sets looked at, unfinished ones included. Choosing 8 of 16 takes 24,310 if nothing can be ruled out."""

# So far apart that no number of pairs (64 GPUs have 2,016) outweighs a nearer kind.
_SHARED = {
    values.LinkKind.PCIE_SWITCH: 1 << 24,
    values.LinkKind.HOST_BRIDGE: 1 << 12,
    values.LinkKind.NUMA_NODE: 1,
    values.LinkKind.MACHINE: 0,
}
_LANE = 1 << 36
_JOINED = 1 << 60

Nearness = tuple[tuple[int, ...], ...]
"""For each pair of positions how near they are; 0 on the diagonal."""


def nearness(devices: Sequence[inventory.DeviceRoom]) -> Nearness:
    """How near each two of these devices are, the larger the nearer; the better word of both counts."""
    ways = [{link.uuid: link for link in device.links} for device in devices]
    return tuple(
        tuple(
            0 if one is other else max(_way(one, other, ways[at]), _way(other, one, ways[to]))
            for to, other in enumerate(devices)
        )
        for at, one in enumerate(devices)
    )


def alike(devices: Sequence[inventory.DeviceRoom]) -> bool:
    """Whether all pairs are equally near, so that links prefer no set to another."""
    if len({device.numa_node for device in devices}) < 2 and not any(device.links for device in devices):
        return True
    pairs = nearness(devices)
    return len({pairs[at][to] for at in range(len(pairs)) for to in range(at)}) < 2


def nearest(devices: Sequence[inventory.DeviceRoom], count: int) -> tuple[inventory.DeviceRoom, ...]:
    """The ``count`` of these devices that are nearest to each other.

    Of equally near sets it is the one that takes the earlier devices: given in a policy's order of
    preference, the links decide first and the policy decides what they leave open.
    """
    return tuple(devices[at] for at in _nearest(nearness(devices), count))


def total(devices: Sequence[inventory.DeviceRoom]) -> int:
    """How near a set of devices is: the sum over its pairs."""
    pairs = nearness(devices)
    return sum(pairs[at][to] for at in range(len(pairs)) for to in range(at))


def _way(one: inventory.DeviceRoom, other: inventory.DeviceRoom, ways: dict[str, values.Link]) -> int:
    same_numa_node = one.numa_node is not None and one.numa_node == other.numa_node
    link = ways.get(other.uuid)
    if link is None:
        return int(same_numa_node)
    if link.kind is values.LinkKind.NVLINK:
        return _JOINED + _LANE * link.lanes + int(same_numa_node)
    return max(_SHARED[link.kind], int(same_numa_node))


@functools.lru_cache(maxsize=4096)
def _nearest(pairs: Nearness, count: int) -> tuple[int, ...]:
    """Branch and bound over ascending positions, so that the first best set found is the earliest."""
    return _Search(pairs, count).run()


class _Search:
    """One search; the greedy sets it begins with are the answer where the steps do not suffice."""

    def __init__(self, pairs: Nearness, count: int) -> None:
        self._pairs = pairs
        self._count = count
        self._steps = 0
        self._best = max((self._greedy(start) for start in range(len(pairs))), key=self._worth, default=())
        self._to_reach = self._worth(self._best)  # an earlier set that is as near is still wanted
        self._halves = self._half_sums()

    def run(self) -> tuple[int, ...]:
        self._extend((), 0, [0] * len(self._pairs), 0)
        return self._best

    def _extend(self, chosen: tuple[int, ...], worth: int, gains: list[int], first: int) -> None:
        """Looks at all sets that add later positions to the chosen ones; ``gains`` is what each would add."""
        self._steps += 1
        missing = self._count - len(chosen)
        if not missing:
            self._best, self._to_reach = chosen, worth + 1
            return
        for at in range(first, len(self._pairs) - missing + 1):
            if self._steps > STEPS or worth + self._most(gains, at, missing) < self._to_reach:
                return
            row = self._pairs[at]
            after = [gain + near for gain, near in zip(gains, row, strict=True)]
            if missing > 1 or worth + gains[at] >= self._to_reach:
                self._extend((*chosen, at), worth + gains[at], after, at + 1)

    def _most(self, gains: list[int], first: int, missing: int) -> int:
        """At least what any ``missing`` of the positions from ``first`` on can add."""
        halves = self._halves[missing - 1]
        could = sorted((2 * gains[at] + halves[at] for at in range(first, len(gains))), reverse=True)
        return sum(could[:missing]) // 2

    def _half_sums(self) -> list[list[int]]:
        """For each number of companions twice the half of what the nearest so many bring a position."""
        ranked = [sorted(row, reverse=True) for row in self._pairs]
        return [[sum(row[:companions]) for row in ranked] for companions in range(max(1, self._count))]

    def _greedy(self, start: int) -> tuple[int, ...]:
        chosen, gains = {start}, list(self._pairs[start])
        while len(chosen) < self._count:
            best = max((at for at in range(len(gains)) if at not in chosen), key=lambda at: gains[at])
            chosen.add(best)
            gains = [gain + near for gain, near in zip(gains, self._pairs[best], strict=True)]
        return tuple(sorted(chosen))

    def _worth(self, chosen: tuple[int, ...]) -> int:
        return sum(self._pairs[at][to] for at in chosen for to in chosen if to < at)
