"""Pools say what was meant: one default, namespaces that exist in their quotas, nobody forgotten by them."""

import difflib
from collections.abc import Collection

from vgpu_cli import reading, words
from vgpu_cli.checks.finding import Finding, Probe, fault, skipped, sound
from vgpu_kube import errors
from vgpu_kube.objects import Object
from vgpu_kube.resources import NAMESPACES


async def look(probe: Probe) -> list[Finding]:
    """Whether there are pools, and they are ready."""
    pools = await reading.pools(probe.session.cluster)
    if not pools:
        return [fault("there is no pool", remedy="create a VGPUPool; the README shows one")]
    defaults = [each["metadata"]["name"] for each in pools if reading.is_default(each)]
    found = []
    if len(defaults) > 1:
        remedy = "keep the annotation vgpu.dev/is-default-pool=true on one of them"
        found.append(fault(f"several pools are the default: {', '.join(defaults)}", remedy=remedy))
    for each in pools:
        said = reading.said(each)
        if said.status != "True":
            name = each["metadata"]["name"]
            remedy = f"kubectl describe vgpupool {name}"
            found.append(fault(f"pool {name} is not ready: {said.reason}: {said.message}", remedy=remedy))
    return found or [sound(f"{words.counted(len(pools), 'pool')} ready")]


async def quotas(probe: Probe) -> list[Finding]:
    """Whether the namespaces in quotas exist, and those that have claims have a quota."""
    pools = await reading.pools(probe.session.cluster)
    try:
        namespaces = {
            each["metadata"]["name"] for each in (await probe.session.cluster.list(NAMESPACES)).items
        }
        claims = await reading.claims(probe.session.cluster, None)
    except errors.Forbidden as error:
        return [skipped(error.message)]
    found = []
    for pool in pools:
        found += _unknown(pool, namespaces)
        found += _forgotten(pool, {each["metadata"]["namespace"] for each in _drawing(claims, pool, pools)})
    return found or [sound("every namespace in a quota exists, and whoever has claims has a quota")]


def _drawing(claims: list[Object], pool: Object, pools: list[Object]) -> list[Object]:
    return [each for each in claims if reading.pool_name(each, pools) == pool["metadata"]["name"]]


def _named(pool: Object) -> list[str]:
    return [each["namespace"] for each in pool["spec"].get("quotas") or ()]


def _unknown(pool: Object, namespaces: Collection[str]) -> list[Finding]:
    name = pool["metadata"]["name"]
    found = []
    for each in _named(pool):
        if each not in namespaces:
            near = difflib.get_close_matches(each, namespaces, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            remedy = f"{hint}correct it: kubectl edit vgpupool {name}, or create the namespace"
            found.append(
                fault(f"the quota of pool {name} names namespace {each}, which does not exist", remedy=remedy)
            )
    return found


def _forgotten(pool: Object, claiming: Collection[str]) -> list[Finding]:
    name, named = pool["metadata"]["name"], _named(pool)
    if "quotas" not in pool["spec"]:
        return []
    return [
        fault(
            f"namespace {each} has claims on pool {name} and no quota there: its pods wait for ever",
            remedy=f"give it one: kubectl edit vgpupool {name}",
        )
        for each in sorted(set(claiming) - set(named))
    ]
