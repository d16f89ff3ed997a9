"""What a pool says about itself: from the facts to its status, without asking anybody.

How the facts are kept stands in ``view``, how a status is written in ``publishing``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vgpu import inventory, quota, values
from vgpu.api import amounts, conditions
from vgpu.api.conditions import Condition, PoolCondition, Reason, Status
from vgpu_operator import membership, wording

LISTED_QUOTAS = 1000  # what the schema admits


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything a pool's status is made of; ``silent`` names the nodes whose agents are."""

    pool: values.Pool
    totals: membership.Totals
    silent: tuple[str, ...]
    overlaps: Mapping[str, int]
    used: Mapping[str, values.Amounts]
    bound: int
    pending: int
    slices: int
    deleting: bool


def fields(facts: Facts) -> dict[str, Any]:
    """The status without its conditions."""
    return {
        "nodeCount": facts.totals.nodes,
        "deviceCount": facts.totals.devices,
        "claims": {"bound": facts.bound, "pending": facts.pending},
        "capacity": amounts.to_json(facts.totals.capacity),
        "allocated": amounts.to_json(sum(facts.used.values(), values.NOTHING)),
        "quotas": _quotas(facts),
    }


def conditions_of(facts: Facts) -> list[Condition]:
    """Both conditions, the summary last."""
    inventory = _inventory_current(facts)
    return [inventory, _ready(facts, inventory)]


def silent_nodes(nodes: Mapping[str, float | None], *, now: float) -> tuple[str, ...]:
    """The nodes, given by their last heartbeat, whose agents have not written for too long."""
    return tuple(sorted(inventory.silent_nodes(nodes, now=now)))


def _quotas(facts: Facts) -> list[dict[str, Any]]:
    quotas = facts.pool.quotas or {}
    named = sorted({*quotas, *(name for name, used in facts.used.items() if used != values.NOTHING)})
    return [
        _quota(name, quotas.get(name), facts.used.get(name, values.NOTHING)) for name in named[:LISTED_QUOTAS]
    ]


def _quota(namespace: str, bound: values.Quota | None, used: values.Amounts) -> dict[str, Any]:
    borrowed = values.NOTHING if bound is None else quota.borrowed(bound, used)
    return {
        "namespace": namespace,
        "used": amounts.to_json(used),
        "borrowed": amounts.to_json(borrowed),
    }


def _inventory_current(facts: Facts) -> Condition:
    kind = PoolCondition.INVENTORY_CURRENT
    if not facts.totals.nodes:
        return _says(kind, Status.FALSE, Reason.NO_NODES, _NO_NODES)
    if facts.silent:
        return _says(
            kind,
            Status.FALSE,
            Reason.AGENTS_SILENT,
            f"no report for {inventory.SILENT_SECONDS:.0f} s from {wording.named(facts.silent, 'node')};"
            " look at vgpu-agent there",
        )
    reporting = wording.counted(facts.totals.nodes, "node")
    return _says(kind, Status.TRUE, Reason.AGENTS_REPORTING, f"all of {reporting} report")


def _ready(facts: Facts, inventory: Condition) -> Condition:
    kind = PoolCondition.READY
    if facts.deleting:
        held = wording.counted(facts.slices, "slice")
        message = f"being deleted, waits for its last slice to be released ({held} held now)"
        return _says(kind, Status.FALSE, Reason.DELETING, message)
    if facts.overlaps:
        return _says(kind, Status.FALSE, Reason.POOLS_OVERLAP, _overlap(facts))
    if inventory.reason is Reason.NO_NODES:
        return _says(kind, Status.FALSE, Reason.NO_NODES, _NO_NODES)
    if len(facts.silent) == facts.totals.nodes:
        return _says(kind, Status.FALSE, Reason.AGENTS_SILENT, inventory.message)
    if not facts.totals.largest_bytes:
        message = (
            "none of its GPUs is healthy and has memory to promise; look at the VGPUNodes' status.devices"
        )
        return _says(kind, Status.FALSE, Reason.NO_DEVICES, message)
    gpus = wording.counted(facts.totals.devices, "GPU")
    return _says(kind, Status.TRUE, Reason.DEVICES_READY, f"{gpus} on {_nodes(facts)} take claims")


def _overlap(facts: Facts) -> str:
    shared = wording.counted(max(facts.overlaps.values()), "GPU")
    return (
        f"{wording.named(tuple(facts.overlaps), 'pool')} also selects up to {shared} of this pool;"
        " a GPU must belong to one pool: narrow the nodeSelector or deviceSelector of one of them"
    )


def _nodes(facts: Facts) -> str:
    return wording.counted(facts.totals.nodes, "node")


def _says(kind: Any, status: Status, reason: Reason, message: str) -> Condition:  # noqa: ANN401 -- narrowed by Condition
    return conditions.Condition(type=kind, status=status, reason=reason, message=message)


_NO_NODES = (
    "nodeSelector and deviceSelector select no GPU that an agent reports;"
    " compare them with the labels and status.devices of the VGPUNodes"
)
