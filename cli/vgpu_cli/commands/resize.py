"""``resize``: edit the floor and the ceiling of a claim; slices of running pods follow without a restart."""

from dataclasses import dataclass
from typing import Any

import click

from vgpu import values
from vgpu.api import pool as pool_api
from vgpu.api import quantity
from vgpu_cli import options, output, reading, resizing
from vgpu_cli.cluster import Session
from vgpu_cli.faults import Fault
from vgpu_cli.options import Access
from vgpu_kube import errors
from vgpu_kube.objects import Object
from vgpu_kube.resources import VGPU_CLAIMS, VGPU_POOLS

FIELDS = ("memory", "computePercent")

Part = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """What is asked for; what an amount leaves out stays as it is."""

    requests: Part
    limits: Part

    def patch(self) -> Object:
        """The merge patch of the claim."""
        parts = {"requests": self.requests, "limits": self.limits}
        return {"spec": {"resources": {name: part for name, part in parts.items() if part}}}


def parsed(text: str | None, *, option: str) -> Part:
    """The amounts of ``memory=16Gi,computePercent=25``, as the API writes them. Raises UsageError."""
    part: Part = {}
    for pair in (text or "").split(",") if text else ():
        name, _, value = pair.partition("=")
        if name not in FIELDS or not value:
            raise click.UsageError(f"expected {option} memory=16Gi,computePercent=25, found {pair!r}")
        part[name] = _checked(name, value, option=option)
    return part


def _checked(name: str, value: str, *, option: str) -> str | int:
    if name == "memory":
        try:
            quantity.parse_bytes(value)
        except ValueError as error:
            raise click.UsageError(f"{option}: {error}") from None
        return value
    if not value.isdigit():
        raise click.UsageError(f"{option}: expected a whole number of percent, found {value!r}")
    return int(value)


async def foreseen(session: Session, name: str, edit: Edit) -> resizing.Effect:
    """The effect of the edit on the claim as it is now. Raises Fault where it can never be."""
    claim = await session.cluster.get(VGPU_CLAIMS, name, session.namespace)
    pool, used = await _pool(session, claim)
    try:
        return resizing.effect(
            _bounds(claim, Edit(requests={}, limits={})),
            _bounds(claim, edit),
            _allocated(claim),
            devices=int(claim["spec"].get("deviceCount", 1)),
            namespace=session.namespace,
            pool=pool,
            used=used,
        )
    except ValueError as error:
        raise Fault(str(error)) from error


def _bounds(claim: Object, edit: Edit) -> resizing.Bounds:
    resources = claim["spec"]["resources"]
    requests = {**resources["requests"], **edit.requests}
    limits = {**requests, **(resources.get("limits") or {}), **edit.limits}
    return resizing.Bounds(requests=reading.amounts(requests), limits=reading.amounts(limits))


def _allocated(claim: Object) -> list[values.Amounts]:
    """What each slice has; the pods of a shared one are listed with the same amounts."""
    rows = (claim.get("status") or {}).get("allocations") or []
    shared = claim["spec"].get("allocationMode") == values.AllocationMode.SHARED.value
    return [reading.amounts(each) for each in (rows[:1] if shared else rows)]


async def _pool(session: Session, claim: Object) -> tuple[values.Pool | None, dict[str, values.Amounts]]:
    """The claim's pool and what each namespace holds of it."""
    try:
        pools = list((await session.cluster.list(VGPU_POOLS)).items)
    except errors.Forbidden:
        return None, {}
    name = reading.pool_name(claim, pools)
    raw = next((each for each in pools if each["metadata"]["name"] == name), None)
    if raw is None:
        return None, {}
    lines = (raw.get("status") or {}).get("quotas") or ()
    return pool_api.to_values(raw), {each["namespace"]: reading.amounts(each["used"]) for each in lines}


async def carried_out(
    session: Session, name: str, edit: Edit, *, rehearsal: bool
) -> tuple[resizing.Effect, Object]:
    """The effect and the claim after the edit, or after its rehearsal by the API server."""
    effect = await foreseen(session, name, edit)
    if rehearsal:
        return effect, await session.cluster.rehearse_patch(
            VGPU_CLAIMS, name, edit.patch(), session.namespace
        )
    return effect, await session.cluster.patch_merge(VGPU_CLAIMS, name, edit.patch(), session.namespace)


def to_json(effect: resizing.Effect, *, rehearsal: bool) -> dict[str, Any]:
    """The effect for programs."""
    pending = effect.pending
    return {
        "dryRun": rehearsal,
        "requests": reading.amounts_to_json(effect.after.requests),
        "limits": reading.amounts_to_json(effect.after.limits),
        "slices": {"grown": effect.grown, "shrunk": effect.shrunk},
        "taken": reading.amounts_to_json(effect.taken),
        "freed": reading.amounts_to_json(effect.freed),
        "quota": None if effect.standing is None else effect.standing.value,
        "waits": None if pending is None else {"reason": pending.reason.value, "message": pending.message},
    }


@click.command()
@click.argument("name", metavar="CLAIM")
@click.option(
    "--requests", metavar="AMOUNTS", help="The floor: memory=16Gi,computePercent=25, or one of both."
)
@click.option("--limits", metavar="AMOUNTS", help="The ceiling, likewise.")
@click.option("--dry-run", "rehearsal", is_flag=True, help="Write nothing; say what would follow.")
@options.output
@options.access
def resize(
    access: Access, form: str, name: str, requests: str | None, limits: str | None, *, rehearsal: bool
) -> None:
    """Change floor and ceiling of CLAIM, and say what follows for slices and quota.

    Amounts are per GPU; what one leaves out stays as it is. Running pods follow without a restart.
    """
    edit = Edit(requests=parsed(requests, option="--requests"), limits=parsed(limits, option="--limits"))
    if not edit.requests and not edit.limits:
        raise click.UsageError("expected --requests or --limits, found neither")
    effect, _ = access.asked(lambda session: carried_out(session, name, edit, rehearsal=rehearsal))
    if output.structured(form):
        output.emit(to_json(effect, rehearsal=rehearsal), form)
        return
    click.echo(f"claim {name}{' (dry run, nothing is written)' if rehearsal else ''}")
    for sentence in effect.sentences():
        click.echo(f"  {sentence}")
