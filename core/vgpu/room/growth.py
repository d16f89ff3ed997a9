"""What slices hold above their floors and could give back: gifts, one per slice and dimension.

Memory and compute are separate gifts, so that nobody loses what nobody lacks. Memory that an application
holds on to after a shrink is no gift: it is not its slice's to give.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from vgpu import values
from vgpu.room import changes, survey


@dataclass(frozen=True, slots=True)
class Gift:
    """What one slice would give back in one dimension, per GPU."""

    slice: values.Slice
    amount: values.Amounts

    @property
    def total(self) -> values.Amounts:
        """The same over all GPUs of the slice."""
        return self.amount.times(len(self.slice.device_uuids))

    @property
    def reluctance(self) -> tuple[int, int, int, str]:
        """The greatest is asked last: high priorities, then much memory."""
        return self.slice.priority, self.total.memory_bytes, self.total.compute_percent, self.slice.id


def of(node: values.Node, lends: Callable[[values.Slice], bool]) -> Iterator[Gift]:
    """All gifts of those of a node's slices that lend."""
    for slice_ in filter(lends, node.slices.values()):
        above = slice_.allocated - slice_.requests
        held_on = survey.expected(node, slice_).memory_bytes > slice_.allocated.memory_bytes
        if above.memory_bytes > 0 and not held_on:
            yield Gift(slice_, replace(above, compute_percent=0))
        if above.compute_percent > 0:
            yield Gift(slice_, replace(above, memory_bytes=0))


def without(node: values.Node, gifts: Iterable[Gift]) -> values.Node:
    """The node once it has confirmed all that is under way, and these gifts."""
    charges = {id_: survey.expected(node, slice_) for id_, slice_ in node.slices.items()}
    for gift in gifts:
        charges[gift.slice.id] -= gift.amount
    return survey.charging(node, charges)


def shares(node: str, gifts: Iterable[Gift]) -> changes.ReturnShares:
    """The gifts of one node as returns, one per slice."""
    amounts: dict[str, values.Amounts] = {}
    slices: dict[str, values.Slice] = {}
    for gift in gifts:
        slices[gift.slice.id] = gift.slice
        amounts[gift.slice.id] = amounts.get(gift.slice.id, values.NOTHING) + gift.amount
    return changes.ReturnShares(
        node=node, returns=tuple(_return(slices[id_], amount) for id_, amount in amounts.items())
    )


def _return(slice_: values.Slice, amount: values.Amounts) -> changes.Return:
    return changes.Return(
        slice_id=slice_.id,
        claim=slice_.claim,
        priority=slice_.priority,
        device_count=len(slice_.device_uuids),
        allocated=slice_.allocated - amount,
        amount=amount,
    )
