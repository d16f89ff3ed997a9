"""``status``: the cluster's GPUs and whoever waits, on one screen.

Read from what pools and claims say of themselves, so that it is quick at any size and a tenant may ask.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import click

from vgpu import values
from vgpu_cli import drawing, options, output, reading, words
from vgpu_cli.cluster import Session
from vgpu_cli.options import Access
from vgpu_kube.objects import Object

LISTED = 20
"""Claims that are not ready, shown before the rest is only counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """One pool as it describes itself."""

    name: str
    default: bool
    said: reading.Said
    inventory: reading.Said
    nodes: int
    devices: int
    bound: int
    pending: int
    floor: values.Amounts | None
    allocated: values.Amounts
    capacity: values.Amounts


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One claim that is not ready, and its reason."""

    path: str
    pool: str | None
    said: reading.Said
    pods: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """Everything ``status`` says; ``scope`` is the namespace of the claims, None for all."""

    scope: str | None
    pools: tuple[Pool, ...]
    ready: int
    waiting: tuple[Claim, ...]


async def gather(session: Session, scope: str | None) -> Overview:
    """The overview of a cluster now."""
    pools, claims = await reading.pools_and_claims(session.cluster, scope)
    waiting = [_claim(each, pools) for each in claims if reading.said(each).status != "True"]
    floors = _floors(claims, pools) if scope is None else None
    return Overview(
        scope=scope,
        pools=tuple(_pool(each, floors) for each in pools),
        ready=len(claims) - len(waiting),
        waiting=tuple(waiting),
    )


def _pool(raw: Object, floors: dict[str | None, values.Amounts] | None) -> Pool:
    status = raw.get("status") or {}
    name, claims = raw["metadata"]["name"], status.get("claims") or {}
    return Pool(
        name=name,
        default=reading.is_default(raw),
        said=reading.said(raw),
        inventory=reading.said(raw, "InventoryCurrent"),
        nodes=status.get("nodeCount", 0),
        devices=status.get("deviceCount", 0),
        bound=claims.get("bound", 0),
        pending=claims.get("pending", 0),
        floor=None if floors is None else floors.get(name, values.NOTHING),
        allocated=reading.amounts(status.get("allocated")),
        capacity=reading.amounts(status.get("capacity")),
    )


def _floors(claims: list[Object], pools: list[Object]) -> dict[str | None, values.Amounts]:
    """What is promised to the pods of all claims, by pool."""
    floors: dict[str | None, values.Amounts] = {}
    for each in claims:
        name = reading.pool_name(each, pools)
        promised = reading.floor(each).times(reading.slices(each))
        floors[name] = floors.get(name, values.NOTHING) + promised
    return floors


def _claim(raw: Object, pools: list[Object]) -> Claim:
    pods = (raw.get("status") or {}).get("podCount", 0)
    return Claim(
        path=reading.path(raw), pool=reading.pool_name(raw, pools), said=reading.said(raw), pods=pods
    )


def to_json(overview: Overview) -> dict[str, Any]:
    """The overview for programs."""
    return {
        "namespace": overview.scope,
        "pools": [_pool_to_json(each) for each in overview.pools],
        "claims": {"ready": overview.ready, "notReady": [_claim_to_json(each) for each in overview.waiting]},
    }


def _pool_to_json(pool: Pool) -> dict[str, Any]:
    return {
        "name": pool.name,
        "default": pool.default,
        "ready": pool.said.status,
        "reason": pool.said.reason,
        "message": pool.said.message,
        "nodes": pool.nodes,
        "devices": pool.devices,
        "claims": {"bound": pool.bound, "pending": pool.pending},
        "promised": None if pool.floor is None else reading.amounts_to_json(pool.floor),
        "allocated": reading.amounts_to_json(pool.allocated),
        "capacity": reading.amounts_to_json(pool.capacity),
    }


def _claim_to_json(claim: Claim) -> dict[str, Any]:
    namespace, name = claim.path.split("/")
    said = {"ready": claim.said.status, "reason": claim.said.reason, "message": claim.said.message}
    return {"namespace": namespace, "name": name, "pool": claim.pool, "pods": claim.pods, **said}


def show(overview: Overview, *, wide: bool) -> None:
    """Writes the overview for people: pools, then whoever waits, then the rest in one line."""
    console = drawing.console()
    if not overview.pools:
        console.print("No pools. Create a VGPUPool, or see what is missing: kubectl vgpu check")
        return
    console.print(drawing.table(_columns(wide=wide), [_row(each, wide=wide) for each in overview.pools]))
    for each in overview.pools:
        for condition in {each.said, each.inventory}:
            if condition.status != "True":
                console.print(f"! pool {each.name}: {condition.reason}: {condition.message}")
    console.print()
    if overview.waiting:
        shown = overview.waiting[:LISTED]
        rows = [(each.path, each.pool or "", each.said.reason, each.said.message) for each in shown]
        console.print(drawing.table(("CLAIM", "POOL", "REASON", "MESSAGE"), rows))
    console.print(_sum(overview))


def _columns(*, wide: bool) -> tuple[str, ...]:
    base = ("POOL", "READY", "NODES", "GPUS", "BOUND", "WAITING", "MEMORY", "", "COMPUTE", "")
    return (*base, "REASON") if wide else base


def _row(pool: Pool, *, wide: bool) -> list[Any]:
    floor = pool.floor or pool.allocated
    of_memory = drawing.bar(floor.memory_bytes, pool.allocated.memory_bytes, pool.capacity.memory_bytes)
    of_compute = drawing.bar(
        floor.compute_percent, pool.allocated.compute_percent, pool.capacity.compute_percent
    )
    memory, compute = words.part(pool.allocated, pool.capacity)
    row = [
        f"{pool.name} (default)" if pool.default else pool.name,
        drawing.status(pool.said.status),
        f"{pool.nodes:,}",
        f"{pool.devices:,}",
        f"{pool.bound:,}",
        f"{pool.pending:,}",
        of_memory,
        memory,
        of_compute,
        compute,
    ]
    return [*row, pool.said.reason] if wide else row


def _sum(overview: Overview) -> str:
    where = "all namespaces" if overview.scope is None else f"namespace {overview.scope}"
    ready = f"{words.counted(overview.ready, 'claim')} ready in {where}"
    more = overview.waiting[LISTED:]
    if not more:
        return ready
    reasons = Counter(each.said.reason for each in more).most_common()
    return f"{ready}; not shown: {', '.join(f'{count:,} {reason}' for reason, count in reasons)}"


@click.command()
@options.everywhere
@options.output
@options.access
def status(access: Access, form: str) -> None:
    """Show pools, how full they are, and every claim that is not ready.

    Claims are those of one namespace, or of all with -A, which also tells promised from elastic use.
    """
    overview = access.asked(lambda session: gather(session, access.scope(session)))
    if output.structured(form):
        output.emit(to_json(overview), form)
    else:
        show(overview, wide=form == options.Format.WIDE)
