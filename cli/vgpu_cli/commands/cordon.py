"""``cordon`` and ``uncordon``: let a GPU take no new slices, and take them again; those it has stay."""

from collections.abc import Callable, Sequence
from typing import Any

import click

from vgpu import ledger, values
from vgpu.api import node as node_api
from vgpu.api import node_patch
from vgpu_cli import options, output, reading
from vgpu_cli.cluster import Cluster, Session
from vgpu_cli.faults import Fault
from vgpu_cli.options import Access
from vgpu_kube import errors
from vgpu_kube.objects import Object
from vgpu_kube.resources import VGPU_NODES

ATTEMPTS = 5
"""How often a write meets a newer ledger before it is given up."""

Edit = Callable[[frozenset[str], frozenset[str]], frozenset[str]]


async def change(session: Session, devices: Sequence[str], edit: Edit) -> list[dict[str, Any]]:
    """Each device that was named and whether it is cordoned now. Raises Fault for one that is unknown."""
    wanted = _by_node(await _candidates(session.cluster, devices), devices)
    done = []
    for node, uuids in wanted.items():
        cordoned = await _write(session.cluster, node, frozenset(uuids), edit)
        done += [{"node": node, "uuid": uuid, "cordoned": uuid in cordoned} for uuid in sorted(uuids)]
    return done


async def _candidates(cluster: Cluster, devices: Sequence[str]) -> list[Object]:
    """The nodes that are named, or every node where a UUID stands alone."""
    if not all("/" in each for each in devices):
        return await reading.nodes(cluster)
    found = []
    for name in dict.fromkeys(each.split("/", 1)[0] for each in devices):
        try:
            found.append(await cluster.get(VGPU_NODES, name))
        except errors.NotFound:
            raise Fault(f"expected a node with GPUs {name}, found none; see: kubectl vgpu tree") from None
    return found


def _by_node(nodes: Sequence[Object], devices: Sequence[str]) -> dict[str, set[str]]:
    """The UUIDs meant, by node: each is a UUID, ``node/index`` or ``node/uuid``."""
    known = {}
    for raw in nodes:
        name = raw["metadata"]["name"]
        for each in (raw.get("status") or {}).get("devices") or ():
            place = (name, each["uuid"])
            known.update(
                {each["uuid"]: place, f"{name}/{each['index']}": place, f"{name}/{each['uuid']}": place}
            )
    wanted: dict[str, set[str]] = {}
    for device in devices:
        if device not in known:
            raise Fault(
                f"expected a GPU as NODE/INDEX or UUID, found {device}; see: kubectl vgpu tree -o wide"
            )
        node, uuid = known[device]
        wanted.setdefault(node, set()).add(uuid)
    return wanted


async def _write(cluster: Cluster, node: str, uuids: frozenset[str], edit: Edit) -> frozenset[str]:
    """The cordoned devices of a node after the edit: read, decide, compare and swap."""
    for _ in range(ATTEMPTS):
        known = node_api.to_values(await cluster.get(VGPU_NODES, node))
        cordoned = edit(known.cordoned_devices, uuids)
        change = ledger.cordon(known, cordoned)
        if change.empty:
            return cordoned
        try:
            await cluster.patch_json(VGPU_NODES, node, node_patch.patch(change))
        except errors.Conflict:
            continue
        return cordoned
    raise Fault(f"expected a quiet moment of {node}, found {ATTEMPTS} newer versions; try again")


async def held(session: Session, done: Sequence[dict[str, Any]]) -> dict[str, list[values.Slice]]:
    """The slices that stay on each of the devices, by UUID."""
    found: dict[str, list[values.Slice]] = {each["uuid"]: [] for each in done}
    for name in {each["node"] for each in done}:
        node = node_api.to_values(await session.cluster.get(VGPU_NODES, name))
        for slice_ in node.slices.values():
            for uuid in found.keys() & set(slice_.device_uuids):
                found[uuid].append(slice_)
    return found


def _run(access: Access, devices: tuple[str, ...], form: str, edit: Edit) -> None:
    async def both(session: Session) -> tuple[list[dict[str, Any]], dict[str, list[values.Slice]]]:
        done = await change(session, devices, edit)
        return done, await held(session, done)

    done, stay = access.asked(both)
    if output.structured(form):
        output.emit(done, form)
        return
    for each in done:
        word = "takes no new slices" if each["cordoned"] else "takes new slices"
        claims = sorted({f"{slice_.claim.namespace}/{slice_.claim.name}" for slice_ in stay[each["uuid"]]})
        rest = f"; {', '.join(claims)} stay" if claims and each["cordoned"] else ""
        click.echo(f"{each['uuid']} on {each['node']} {word}{rest}")


@click.command()
@click.argument("devices", nargs=-1, required=True, metavar="NODE/INDEX|UUID...")
@options.output
@options.access
def cordon(access: Access, form: str, devices: tuple[str, ...]) -> None:
    """Let GPUs take no new slices; the slices they have stay where they are."""
    _run(access, devices, form, frozenset.union)


@click.command()
@click.argument("devices", nargs=-1, required=True, metavar="NODE/INDEX|UUID...")
@options.output
@options.access
def uncordon(access: Access, form: str, devices: tuple[str, ...]) -> None:
    """Let cordoned GPUs take new slices again."""
    _run(access, devices, form, frozenset.difference)
