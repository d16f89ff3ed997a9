"""The five invariants of the ledger, checked against what a real API server holds.

What is listed may be a moment apart (pods, then nodes), so a rule that compares the two is stated for pods
that were bound before the nodes were read.
"""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from vgpu import inventory, values
from vgpu.api import names, node, pool
from vgpu_e2e import gpunodes, rest
from vgpu_e2e.rest import Object

PODS = "/api/v1/pods"
POOLS = f"/apis/{names.API_VERSION}/{names.POOL_PLURAL}"
FINISHED = frozenset({"Succeeded", "Failed"})


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """Pods, nodes and pools as one look at the API server found them."""

    pods: Sequence[Object]
    nodes: Sequence[values.Node]
    pools: Sequence[values.Pool]

    @property
    def slices(self) -> list[tuple[values.Node, values.Slice]]:
        """Every slice with its node."""
        return [(found, slice_) for found in self.nodes for slice_ in found.slices.values()]

    @property
    def bound(self) -> list[Object]:
        """The labelled pods that are bound and not finished."""
        return [each for each in self.pods if each["spec"].get("nodeName") and not finished(each)]

    @property
    def pending(self) -> list[Object]:
        """The labelled pods that wait for a node."""
        return [each for each in self.pods if not each["spec"].get("nodeName") and not finished(each)]


async def look(api: rest.API) -> Picture:
    """Read pods first, then nodes: a pod that is bound by then has its slice in the nodes read later."""
    pods, _ = await api.list(PODS, parameters={"labelSelector": names.CLAIM_LABEL})
    nodes, _ = await api.list(gpunodes.VGPU_NODES)
    pools, _ = await api.list(POOLS)
    return Picture(
        pods=pods,
        nodes=[node.to_values(each) for each in nodes],
        pools=[pool.to_values(each) for each in pools],
    )


def finished(raw: Object) -> bool:
    """Whether a pod's containers have all ended, or it is on its way out."""
    return raw["status"].get("phase") in FINISHED or "deletionTimestamp" in raw["metadata"]


def violations(picture: Picture) -> list[str]:
    """Every broken invariant in words; empty when all hold."""
    return [
        *_devices_over_their_capacity(picture),
        *_slices_out_of_bounds(picture),
        *_pods_without_their_slice(picture),
        *_slices_twice(picture),
        *_namespaces_over_quota(picture),
    ]


def leaked(picture: Picture) -> list[str]:
    """Slices without a living, bound pod; fine for a moment, a leak after 30 s."""
    living = {each["metadata"]["uid"] for each in picture.bound}
    return [
        f"slice {slice_.id} on {found.name} has no living pod"
        for found, slice_ in picture.slices
        if not living.intersection(pod.uid for pod in slice_.pods)
    ]


def _devices_over_their_capacity(picture: Picture) -> Iterator[str]:
    for pool_ in picture.pools:
        for found in picture.nodes:
            given = inventory.charges(found)
            for device in inventory.members(pool_, found):
                capacity, held = inventory.capacity(pool_, device), given.get(device.uuid, values.NOTHING)
                if not capacity.covers(held):
                    yield f"GPU {device.uuid} on {found.name} gives {held} of {capacity}"


def _slices_out_of_bounds(picture: Picture) -> Iterator[str]:
    for found, slice_ in picture.slices:
        if not (slice_.limits.covers(slice_.allocated) and slice_.allocated.covers(slice_.requests)):
            yield f"slice {slice_.id} on {found.name}: {slice_.requests}, {slice_.allocated}, {slice_.limits}"


def _pods_without_their_slice(picture: Picture) -> Iterator[str]:
    """Pods of a node that is gone are left out: their slices went with it, they go in a minute."""
    homes = {pod.uid: found.name for found, slice_ in picture.slices for pod in slice_.pods}
    present = {found.name for found in picture.nodes}
    for each in picture.bound:
        home = homes.get(each["metadata"]["uid"])
        if home != each["spec"]["nodeName"] and each["spec"]["nodeName"] in present:
            yield f"pod {each['metadata']['name']} runs on {each['spec']['nodeName']}, its slice is on {home}"


def _slices_twice(picture: Picture) -> Iterator[str]:
    ids = Counter(slice_.id for _, slice_ in picture.slices)
    yield from (f"slice {id_} is counted {count} times" for id_, count in ids.items() if count > 1)


def _namespaces_over_quota(picture: Picture) -> Iterator[str]:
    for pool_ in picture.pools:
        for namespace, held in used(picture, pool_.name).items():
            limit = _limit(pool_, namespace)
            if limit is not None and not limit.covers(held):
                yield f"namespace {namespace} holds {held} of {limit} of pool {pool_.name}"


def used(picture: Picture, pool_name: str) -> dict[str, values.Amounts]:
    """What each namespace holds of a pool, totals over slices and GPUs."""
    totals: dict[str, values.Amounts] = {}
    for found, slice_ in picture.slices:
        if slice_.pool_name == pool_name:
            amount = inventory.charged(slice_, found.enforced.get(slice_.id)).times(len(slice_.device_uuids))
            totals[slice_.claim.namespace] = totals.get(slice_.claim.namespace, values.NOTHING) + amount
    return totals


def _limit(pool_: values.Pool, namespace: str) -> values.Amounts | None:
    if pool_.quotas is None:
        return None
    found = pool_.quotas.get(namespace)
    if found is None:
        return values.NOTHING
    if found.borrowing_limit is None:
        return _sum(each.nominal for each in pool_.quotas.values())
    return found.nominal + found.borrowing_limit


def _sum(amounts: Iterable[values.Amounts]) -> values.Amounts:
    return sum(amounts, values.NOTHING)
