"""Raw pools, claims and nodes of a cluster, and the few fields of them that every command shows.

The fast commands read statuses as they stand; those that compute turn them into ``values`` in ``picture``.
"""

import asyncio
import re
from dataclasses import dataclass
from typing import Any

from vgpu import values
from vgpu.api import names, quantity
from vgpu_cli.cluster import Cluster
from vgpu_kube.objects import Object
from vgpu_kube.resources import VGPU_CLAIMS, VGPU_NODES, VGPU_POOLS

SYSTEM = "vgpu-system"
"""The namespace of the platform's own processes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What an object's Ready says, or another condition of it."""

    status: str = "Unknown"
    reason: str = "PendingEvaluation"
    message: str = "the operator has not looked at it yet; see: kubectl vgpu check"


async def pools(cluster: Cluster) -> list[Object]:
    """Every pool, by name."""
    found = (await cluster.list(VGPU_POOLS)).items
    return sorted(found, key=lambda raw: str(raw["metadata"]["name"]))


async def claims(cluster: Cluster, namespace: str | None) -> list[Object]:
    """The claims of a namespace (None: of all), by namespace and name."""
    found = (await cluster.list(VGPU_CLAIMS, namespace)).items
    return sorted(found, key=lambda raw: (raw["metadata"].get("namespace", ""), raw["metadata"]["name"]))


async def nodes(cluster: Cluster) -> list[Object]:
    """Every VGPUNode, by name; numbers in names count as such, so that gpu-2 comes before gpu-10."""
    return sorted((await cluster.list(VGPU_NODES)).items, key=lambda raw: natural(raw["metadata"]["name"]))


def natural(name: str) -> list[tuple[int, str]]:
    """The key by which people sort names."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split("([0-9]+)", name)]


async def pools_and_claims(cluster: Cluster, namespace: str | None) -> tuple[list[Object], list[Object]]:
    """Both at once: two requests in the time of one."""
    return await asyncio.gather(pools(cluster), claims(cluster, namespace))


def said(raw: Object, kind: str = "Ready") -> Said:
    """What a condition of an object says; without it that nobody has said it yet."""
    for each in (raw.get("status") or {}).get("conditions") or ():
        if each["type"] == kind:
            return Said(status=each["status"], reason=each["reason"], message=each.get("message", ""))
    return Said()


def amounts(raw: Any) -> values.Amounts:  # noqa: ANN401 -- raw JSON
    """The amounts of an object's field; nothing where there is none."""
    if not raw:
        return values.NOTHING
    memory = quantity.parse_bytes(str(raw.get("memory", "0")))
    return values.Amounts(memory_bytes=memory, compute_percent=int(raw.get("computePercent", 0)))


def floor(claim: Object) -> values.Amounts:
    """What a claim is promised on each GPU."""
    return amounts(claim["spec"]["resources"]["requests"])


def ceiling(claim: Object) -> values.Amounts:
    """What each of its slices may grow to; what the claim leaves out equals the floor."""
    resources = claim["spec"]["resources"]
    return amounts({**resources["requests"], **(resources.get("limits") or {})})


def slices(claim: Object) -> int:
    """How many slices on how many GPUs the floor counts for: pods (one, where they share) times GPUs."""
    pods = int((claim.get("status") or {}).get("podCount", 0))
    shared = claim["spec"].get("allocationMode") == values.AllocationMode.SHARED.value
    return (min(pods, 1) if shared else pods) * int(claim["spec"].get("deviceCount", 1))


def path(claim: Object) -> str:
    """How a claim is called across namespaces: ``team-a/llm``."""
    return f"{claim['metadata'].get('namespace', 'default')}/{claim['metadata']['name']}"


def is_default(pool: Object) -> bool:
    """Whether claims without a pool's name go there."""
    annotations = pool["metadata"].get("annotations") or {}
    return annotations.get(names.DEFAULT_POOL_ANNOTATION) == "true"


def pool_name(claim: Object, pools: list[Object]) -> str | None:
    """The pool a claim draws from; None where it names none and there is no default."""
    named: str | None = claim["spec"].get("poolName")
    return named or next((each["metadata"]["name"] for each in pools if is_default(each)), None)


def amounts_to_json(found: values.Amounts) -> dict[str, int]:
    """Amounts in answers for programs."""
    return {"memoryBytes": found.memory_bytes, "computePercent": found.compute_percent}
