"""Edits of a live claim's requests, limits and priority, carried into the ledger.

A shrink is written at once. A growth is written as a wish where quota and devices can grant it, for the
active extender decides; where they cannot, the slice keeps all its old bounds and the refusal says why. An
edit is carried whole or not at all, slice by slice.
"""

import contextlib
from collections.abc import Mapping
from dataclasses import replace

from vgpu import inventory, ledger, quota, values
from vgpu.api import node as node_api
from vgpu.api import node_patch
from vgpu_kube import crash, errors, patches, resources
from vgpu_kube.objects import Object
from vgpu_kube.protocol import Kube, Op
from vgpu_operator.holdings import Holding

BEFORE_WRITE = "bounds-before-write"
AFTER_WRITE = "bounds-after-write"


def differ(claim: values.Claim, entry: values.Slice, *, edited: bool) -> bool:
    """Whether a slice has still to follow its claim; an edit also ends wishes made before it."""
    if entry.exclusive:  # it holds all of its devices, whatever the claim's bounds
        return entry.priority != claim.priority
    bounds = (entry.requests, entry.limits, entry.priority) != (claim.requests, claim.limits, claim.priority)
    return bounds or (edited and entry.wanted is not None)


def decide(
    claim: values.Claim,
    pool: values.Pool | None,
    node: values.Node,
    slice_id: str,
    used: Mapping[str, values.Amounts],
    *,
    edited: bool,
) -> ledger.Change | values.Refusal:
    """How a slice follows its claim; ``used`` is what each namespace holds of the pool.

    Refused with the quota's or the device's reason where a raised floor cannot be granted now.
    """
    change = ledger.retarget(
        node, slice_id, requests=claim.requests, limits=claim.limits, priority=claim.priority
    )
    if isinstance(change, values.Refusal):
        return change
    followed = ledger.applied(node, change)
    entry = followed.slices[slice_id]
    if entry.exclusive or entry.allocated.covers(claim.requests):
        return _without_wish(node, change, entry) if edited else change
    if pool is None:
        return values.Refusal(
            reason=values.Reason.POOL_NOT_FOUND,
            message=f"there is no VGPUPool {entry.pool_name} to grow in",
        )
    return refused(pool, followed, entry, used) or change


async def carry(
    kube: Kube,
    holding: Holding,
    claim: values.Claim,
    pool: values.Pool | None,
    used: Mapping[str, values.Amounts],
    *,
    edited: bool,
    known: values.Node | None = None,
) -> tuple[Object, values.Refusal | None]:
    """Writes one slice's new bounds; returns the VGPUNode as it is then, and the refusal if there was one.

    A ``known`` ledger saves the read where it is still the newest, as the write itself finds out; a refusal
    is only given after a read. Raises KubeError where the cluster cannot be asked.
    """
    refusal: values.Refusal | None = None
    if known is not None:
        outcome = decide(claim, pool, known, holding.slice.id, used, edited=edited)
        if isinstance(outcome, ledger.Change) and not outcome.empty:
            with contextlib.suppress(errors.Conflict):
                return await _write(kube, outcome), None

    def ops(raw: Object) -> list[Op] | None:
        nonlocal refusal
        outcome = decide(claim, pool, node_api.to_values(raw), holding.slice.id, used, edited=edited)
        refusal = outcome if isinstance(outcome, values.Refusal) else None
        if isinstance(outcome, values.Refusal) or outcome.empty:
            return None
        crash.point(BEFORE_WRITE)
        return node_patch.patch(outcome)

    raw = await patches.rewrite(kube, resources.VGPU_NODES, holding.node, ops)
    crash.point(AFTER_WRITE)
    return raw, refusal


async def _write(kube: Kube, change: ledger.Change) -> Object:
    crash.point(BEFORE_WRITE)
    raw = await kube.patch_json(resources.VGPU_NODES, change.node, node_patch.patch(change))
    crash.point(AFTER_WRITE)
    return raw


def refused(
    pool: values.Pool, node: values.Node, entry: values.Slice, used: Mapping[str, values.Amounts]
) -> values.Refusal | None:
    """Why the extender would not grant a slice what it wishes, None where it would."""
    charged = inventory.charged(entry, node.enforced.get(entry.id))
    wanted = entry.wanted or entry.allocated
    extra = (wanted - charged).at_least(values.NOTHING).times(len(entry.device_uuids))
    verdict = quota.check(pool, used, namespace=entry.claim.namespace, extra=extra)
    if isinstance(verdict, values.Refusal):
        return verdict
    outcome = ledger.grant(pool, node, entry.id)
    return outcome if isinstance(outcome, values.Refusal) else None


def _without_wish(node: values.Node, change: ledger.Change, entry: values.Slice) -> ledger.Change:
    if entry.wanted is None:
        return change
    return ledger.Change(node=node.name, revision=node.revision, put={entry.id: replace(entry, wanted=None)})
