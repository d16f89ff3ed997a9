"""How much of a node's free GPU the usual requests cannot use: two measures over one view of a node.

``Stranded`` asks of each shape alone what it could not use (FGD's measure), ``Unpacked`` plays the future
and counts what is left over. Both are in parts per million of one GPU. Which node to take is for policies.
"""

import abc
import bisect
import random
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from vgpu import inventory, values
from vgpu.placement import kernel, mix, policy

UNKNOWN_CPU = 1 << 40
REMEMBERED = 30_000  # states of eight cards, about 2 KiB each


class Kind(NamedTuple):
    """What cards of one kind have in common: capacity in bytes and percent, and the model."""

    memory: int
    compute: int
    model: str


class Card(NamedTuple):
    """The free room of a device: its worth in parts per million, bytes and percent."""

    worth: int
    memory: int
    compute: int
    kind: Kind


class State(NamedTuple):
    """A node without names: free CPU and its cards, the tightest first. Equal nodes have equal states."""

    cpu: int
    cards: tuple[Card, ...]


def card(device: inventory.DeviceRoom) -> Card:
    """The device without its name."""
    free, whole = device.free, device.capacity
    kind = Kind(whole.memory_bytes, whole.compute_percent, device.model)
    return Card(max(0, policy.free_worth(device)), free.memory_bytes, free.compute_percent, kind)


def state(room: inventory.NodeRoom) -> State:
    """The node without its names."""
    return State(free_cpu(room), tuple(sorted(card(device) for device in room.devices)))


def free_cpu(room: inventory.NodeRoom) -> int:
    """The node's free CPU; where it is not known, more than anyone asks."""
    return UNKNOWN_CPU if room.cpu_milli is None else room.cpu_milli


def after(before: State, chosen: Iterable[Card], request: values.Request) -> State:
    """The state once the request has taken these cards."""
    cards = list(before.cards)
    for taken in chosen:
        cards.remove(taken)
        bisect.insort(cards, _less(taken, request.requests))
    return State(before.cpu - request.pod_cpu_milli, tuple(cards))


def _less(found: Card, asked: values.Amounts) -> Card:
    free = values.Amounts(memory_bytes=found.memory, compute_percent=found.compute) - asked
    whole = values.Amounts(memory_bytes=found.kind.memory, compute_percent=found.kind.compute)
    return Card(max(0, policy.worth(free, whole)), free.memory_bytes, free.compute_percent, found.kind)


class _Class(NamedTuple):
    """A shape in plain numbers; the weights of all classes add up to 1."""

    weight: float
    memory: int
    compute: int
    gpus: int
    cpu: int
    models: frozenset[str]


def _classes(typical: mix.Mix, bulk: float) -> tuple[_Class, ...]:
    sizes = _sizes(typical)
    weights = {shape: part * sizes[shape] ** bulk for shape, part in typical.popularity.items()}
    total = sum(weights.values())
    if total <= 0:
        weights, total = dict(typical.popularity), 1.0
    return tuple(
        _Class(
            weight / total,
            shape.requests.memory_bytes,
            shape.requests.compute_percent,
            shape.device_count,
            shape.pod_cpu_milli,
            shape.models,
        )
        for shape, weight in weights.items()
    )


def _sizes(typical: mix.Mix) -> dict[mix.Shape, float]:
    """How large each shape is over all its GPUs, in parts of the largest amounts per GPU in the mix."""
    memory = max((shape.requests.memory_bytes for shape in typical.popularity), default=0)
    compute = max((shape.requests.compute_percent for shape in typical.popularity), default=0)
    most = values.Amounts(memory_bytes=memory, compute_percent=compute)
    return {
        shape: shape.device_count * policy.worth(shape.requests, most) / policy.WHOLE
        for shape in typical.popularity
    }


class _Measure(abc.ABC):
    """A measure that keeps its answers: states repeat, within a decision and from one to the next.

    ``library`` measures in C; None measures here, to the same end. ``bulk`` gives large requests more weight:
    popularity times size to this power.
    """

    def __init__(self, typical: mix.Mix, *, library: Path | None = None, bulk: float = 0.0) -> None:
        self._classes = _classes(typical, bulk)
        self._known: dict[State, float] = {}
        self._worths: dict[Kind, list[int]] = {}
        self._rows: dict[tuple[Kind, ...], Any] = {}
        self._kernel = None if library is None else kernel.Kernel(library, self.shapes)

    @property
    def shapes(self) -> list[tuple[int, int, int, int]]:
        """The shapes as (memory, compute, cpu, gpus)."""
        return [(each.memory, each.compute, each.cpu, each.gpus) for each in self._classes]

    @property
    def weights(self) -> list[float]:
        """The weight of each shape."""
        return [each.weight for each in self._classes]

    def of(self, node: State) -> float:
        """The measure of one node, parts per million of a GPU."""
        found = self._known.get(node)
        if found is None:
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            found = self._known[node] = self._measure(node.cpu, [c for c in node.cards if c.worth > 0])
        return found

    @abc.abstractmethod
    def _measure(self, cpu: int, cards: list[Card]) -> float:
        """The measure of a node in this state."""

    def _plain(self, cards: list[Card]) -> tuple[list[tuple[int, int, int, int]], Any]:
        """The cards for C, and the worths of their kinds in the order of the kinds."""
        kinds = tuple(sorted({card.kind for card in cards}))
        at = {kind: row for row, kind in enumerate(kinds)}
        return [(worth, memory, compute, at[kind]) for worth, memory, compute, kind in cards], self._rows_of(
            kinds
        )

    def _rows_of(self, kinds: tuple[Kind, ...]) -> Any:  # noqa: ANN401  cffi's arrays have no type
        rows = self._rows.get(kinds)
        if rows is None and self._kernel is not None:
            rows = self._rows[kinds] = self._kernel.rows([self.worths_of(kind) for kind in kinds])
        return rows

    def worths_of(self, kind: Kind) -> list[int]:
        """What each class takes of a card of this kind, -1 where it does not accept it."""
        found = self._worths.get(kind)
        if found is None:
            found = self._worths[kind] = [
                taken(
                    values.Amounts(memory_bytes=each.memory, compute_percent=each.compute), kind, each.models
                )
                for each in self._classes
            ]
        return found


def taken(asked: values.Amounts, kind: Kind, models: frozenset[str]) -> int:
    """What these amounts take of a card of this kind, -1 where it is not one of the models."""
    if models and kind.model not in models:
        return -1
    whole = values.Amounts(memory_bytes=kind.memory, compute_percent=kind.compute)
    return policy.worth(asked, whole)


class Stranded(_Measure):
    """What each usual shape cannot use, weighted by popularity: FGD's fragmentation where ``bulk`` is 0.

    For a shape that does not fit the node, or asks for no GPU, all that is free; otherwise the free room of
    the cards that are too tight for it. Source: Weng, Yang et al., USENIX ATC'23, section 4.
    """

    def __init__(self, typical: mix.Mix, *, library: Path | None = None, bulk: float = 0.0) -> None:
        super().__init__(typical, library=library, bulk=bulk)
        self._weights = None if self._kernel is None else self._kernel.numbers("double", self.weights)

    def _measure(self, cpu: int, cards: list[Card]) -> float:
        if self._kernel is not None:
            return self._kernel.stranded(self._weights, cpu, *self._plain(cards))
        free = sum(card.worth for card in cards)
        lost = 0.0
        for each in self._classes:  # one after the other as in C: sum() adds more exactly from Python 3.12 on
            lost += each.weight * (free - _usable(each, cpu, cards))
        return lost


class Unpacked(_Measure):
    """What stays free when the usual requests arrive in random order and each takes the tightest cards.

    The mean over ``sequences`` fixed futures of ``length`` requests, drawn once from the mix with ``seed``
    and the same for all nodes; a request that does not fit is skipped, one without GPU takes its CPU.
    """

    def __init__(
        self,
        typical: mix.Mix,
        *,
        library: Path | None = None,
        sequences: int = 32,
        length: int = 100,
        seed: int = 0,
    ) -> None:
        super().__init__(typical, library=library)
        draw = random.Random(seed)  # noqa: S311  fixed futures, not secrets
        weights = self.weights
        names = range(len(weights))
        self.futures = [draw.choices(names, weights, k=length) if weights else [] for _ in range(sequences)]
        flat = [at for future in self.futures for at in future]
        self._in_c = None if self._kernel is None else self._kernel.numbers("int32_t", flat)

    def _measure(self, cpu: int, cards: list[Card]) -> float:
        left = None
        if self._kernel is not None:
            left = self._kernel.unpacked(self._in_c, len(self.futures), cpu, *self._plain(cards))
        if left is None:
            left = sum(self._left(future, cpu, cards) for future in self.futures)
        return left / len(self.futures)

    def _left(self, future: list[int], cpu: int, cards: list[Card]) -> int:
        """Plays one future: what is free at its end."""
        free = list(cards)
        full: set[int] = set()
        for at in future:
            each = self._classes[at]
            fits = [] if at in full else _fitting(each, free)[: each.gpus]
            if at in full or each.cpu > cpu or len(fits) < each.gpus:
                full.add(at)
                continue
            cpu -= each.cpu
            for position in reversed(fits):
                self._take(at, free, position)
        return sum(card.worth for card in free)

    def _take(self, at: int, free: list[Card], position: int) -> None:
        found, each = free.pop(position), self._classes[at]
        rest = found.worth - self.worths_of(found.kind)[at]
        if rest > 0:
            left = Card(rest, found.memory - each.memory, found.compute - each.compute, found.kind)
            bisect.insort(free, left)


def _usable(each: _Class, cpu: int, cards: list[Card]) -> int:
    if not each.gpus or each.cpu > cpu:
        return 0
    fits = _fitting(each, cards)
    return sum(cards[at].worth for at in fits) if len(fits) >= each.gpus else 0


def _fitting(each: _Class, cards: Sequence[Card]) -> list[int]:
    _, memory, compute, _, _, models = each
    return [
        at
        for at, (_, free_memory, free_compute, kind) in enumerate(cards)
        if free_memory >= memory and free_compute >= compute and (not models or kind.model in models)
    ]
