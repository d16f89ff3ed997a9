"""The changes that would let a waiting request in, as values and in words.

A ``Suggestion`` is a set of changes that suffice together. How they are found stands in the other files.
"""

from dataclasses import dataclass

from vgpu import values


@dataclass(frozen=True, slots=True, kw_only=True)
class LessMemory:
    """The claim asks for ``memory_bytes`` per GPU instead."""

    memory_bytes: int
    instead_of: int

    def __str__(self) -> str:
        less = _size(self.instead_of - self.memory_bytes)
        return f"ask for {_size(self.memory_bytes)} memory per GPU, {less} less"


@dataclass(frozen=True, slots=True, kw_only=True)
class LessCompute:
    """The claim asks for ``compute_percent`` per GPU instead."""

    compute_percent: int
    instead_of: int

    def __str__(self) -> str:
        return (
            f"ask for {self.compute_percent} % compute per GPU,"
            f" {self.instead_of - self.compute_percent} points less"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FewerDevices:
    """A claim for ``device_count`` GPUs per pod instead; the number of a claim that exists is fixed."""

    device_count: int
    instead_of: int

    def __str__(self) -> str:
        return f"use a claim for {self.device_count} instead of {self.instead_of} GPUs per pod"


@dataclass(frozen=True, slots=True, kw_only=True)
class MoreQuota:
    """The nominal quota of ``namespace`` is raised by ``amount``, from nothing where it has none."""

    pool: str
    namespace: str
    amount: values.Amounts

    def __str__(self) -> str:
        return f"raise the nominal quota of namespace {self.namespace} in pool {self.pool} by {self.amount}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Uncordon:
    """These devices of ``node`` take new slices again."""

    node: str
    device_uuids: tuple[str, ...]

    def __str__(self) -> str:
        return f"uncordon GPU {', '.join(self.device_uuids)} of {self.node}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Return:
    """One slice goes down to ``allocated`` by ``amount``, per GPU: growth, never its floor."""

    slice_id: str
    claim: values.ClaimRef
    priority: int
    device_count: int
    allocated: values.Amounts
    amount: values.Amounts


@dataclass(frozen=True, slots=True, kw_only=True)
class ReturnShares:
    """Slices that have grown give something back; none in ``returns`` where it is on its way already."""

    node: str
    returns: tuple[Return, ...]

    @property
    def amount(self) -> values.Amounts:
        """What is given back, over all slices and their GPUs."""
        return sum((each.amount.times(each.device_count) for each in self.returns), values.NOTHING)

    def __str__(self) -> str:
        if not self.returns:
            return f"wait for {self.node} to confirm shares that are being returned"
        slices = f"{len(self.returns)} {'slice' if len(self.returns) == 1 else 'slices'}"
        return f"let {slices} on {self.node} return {self.amount} of growth"


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One pod restarts elsewhere: ``to`` has room for it."""

    claim: values.ClaimRef
    pod: values.PodRef
    to: str
    memory_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MovePods:
    """Pods of ``node`` restart on other nodes, where each has a place."""

    node: str
    moves: tuple[Move, ...]

    @property
    def memory_bytes(self) -> int:
        """What is moved, over all their GPUs."""
        return sum(each.memory_bytes for each in self.moves)

    def __str__(self) -> str:
        pods = f"{len(self.moves)} {'pod' if len(self.moves) == 1 else 'pods'}"
        return f"restart {pods} of {self.node} elsewhere, {_size(self.memory_bytes)} in all"


Change = LessMemory | LessCompute | FewerDevices | MoreQuota | Uncordon | ReturnShares | MovePods


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """Changes that together let the request in."""

    changes: tuple[Change, ...]

    def __str__(self) -> str:
        return " and ".join(str(change) for change in self.changes)


def _size(amount: int) -> str:
    if amount % values.GIB and amount < 10 * values.GIB:
        return f"{amount / values.MIB:.0f} MiB"
    return f"{amount / values.GIB:.6g} GiB"
