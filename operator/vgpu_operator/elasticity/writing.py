"""A decision's new sizes into the ledger: what is less at once, what is more as a wish.

The extender alone turns wishes into allocations. What changes between decision and write is decided anew, so
a size that no longer suits its slice is dropped rather than forced.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from vgpu import ledger, values
from vgpu.api import node as node_api
from vgpu.api import node_patch
from vgpu_kube import crash, patches, resources
from vgpu_kube.objects import Object
from vgpu_kube.protocol import Kube, Op

BEFORE_WRITE = "resize-before-write"
AFTER_WRITE = "resize-after-write"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """The claim's floor and ceiling; a slice with others is being edited and not the loop's to size."""

    requests: values.Amounts
    limits: values.Amounts


def resized(node: values.Node, sizes: Mapping[str, values.Amounts], bounds: Bounds) -> ledger.Change:
    """The change that brings slices of a node to these sizes; those that are gone or edited stay out."""
    change, staged = ledger.Change(node=node.name, revision=node.revision), node
    for slice_id in sorted(sizes):
        entry = staged.slices.get(slice_id)
        if entry is None or (entry.requests, entry.limits) != (bounds.requests, bounds.limits):
            continue
        size = sizes[slice_id].at_least(bounds.requests).at_most(bounds.limits)
        for step in (_less, _more):
            part = step(staged, slice_id, size)
            change, staged = ledger.merged(change, part), ledger.staged(staged, part)
    return change


async def write(kube: Kube, node: str, sizes: Mapping[str, values.Amounts], bounds: Bounds) -> Object:
    """The VGPUNode after the write, or as it is where nothing is left to write. Raises KubeError."""

    def ops(raw: Object) -> list[Op] | None:
        change = resized(node_api.to_values(raw), sizes, bounds)
        if change.empty:
            return None
        crash.point(BEFORE_WRITE)
        return node_patch.patch(change)

    raw = await patches.rewrite(kube, resources.VGPU_NODES, node, ops)
    crash.point(AFTER_WRITE)
    return raw


def _less(node: values.Node, slice_id: str, size: values.Amounts) -> ledger.Change:
    entry = node.slices[slice_id]
    lower = size.at_most(entry.allocated)
    if lower == entry.allocated:
        return ledger.Change(node=node.name, revision=node.revision)
    return _accepted(node, ledger.shrink(node, slice_id, lower))


def _more(node: values.Node, slice_id: str, size: values.Amounts) -> ledger.Change:
    """A wish for what is more, or the withdrawal of one that nothing wants any longer."""
    allocated = node.slices[slice_id].allocated
    return _accepted(node, ledger.wish(node, slice_id, size.at_least(allocated)))


def _accepted(node: values.Node, outcome: ledger.Change | values.Refusal) -> ledger.Change:
    if isinstance(outcome, values.Refusal):
        return ledger.Change(node=node.name, revision=node.revision)
    return outcome
