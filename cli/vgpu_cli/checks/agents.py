"""Every node of a pool has an agent that reports: the DaemonSet, missing VGPUNodes, and old heartbeats."""

from collections.abc import Iterable

from vgpu import inventory
from vgpu.api import names, timestamps
from vgpu.api import pool as pool_api
from vgpu_cli import reading, words
from vgpu_cli.checks.finding import Finding, Probe, fault, skipped, sound
from vgpu_cli.checks.kinds import DAEMON_SETS
from vgpu_cli.reading import SYSTEM
from vgpu_kube import errors
from vgpu_kube.objects import Object
from vgpu_kube.resources import CSI_DRIVERS, NODES

SILENT_SECONDS = 180.0
"""An agent writes every 60 s; after three times that the operator, too, counts it as silent."""

LOOK = f"kubectl -n {SYSTEM} get pods -o wide -l app.kubernetes.io/name=vgpu-agent"


async def look(probe: Probe) -> list[Finding]:
    """Whether the agents run where the pools have nodes."""
    nodes = await probe.nodes()
    return [
        *await _daemon_set(probe),
        *await _driver(probe),
        *await _missing(probe, {each["metadata"]["name"] for each in nodes}),
    ]


async def heartbeats(probe: Probe) -> list[Finding]:
    """Whether every agent that once reported still does."""
    nodes = await probe.nodes()
    old = {}
    for each in nodes:
        beat = (each.get("status") or {}).get("heartbeatTime")
        silent = probe.now - timestamps.parse_time(beat) if beat else None
        if silent is None or silent > SILENT_SECONDS:
            old[each["metadata"]["name"]] = "never" if silent is None else f"{words.age(silent)} ago"
    if not old:
        return [sound(f"{words.counted(len(nodes), 'agent')} reported within {SILENT_SECONDS:g} s")]
    named = words.listed(f"{name} ({when})" for name, when in old.items())
    remedy = f"look at the agent on these nodes ({LOOK}), and whether the nodes are up; new pods avoid them"
    return [fault(f"{words.counted(len(old), 'stale node')}, last heard of: {named}", remedy=remedy)]


async def _daemon_set(probe: Probe) -> list[Finding]:
    try:
        status = (await probe.session.cluster.get(DAEMON_SETS, "vgpu-agent", SYSTEM)).get("status") or {}
    except errors.Forbidden:
        return [skipped(f"the DaemonSets of {SYSTEM} may not be read")]
    except errors.NotFound:
        return []  # agents may be run in another way; the next lines tell where they are missing
    wanted, ready = status.get("desiredNumberScheduled", 0), status.get("numberReady", 0)
    if ready < wanted:
        return [fault(f"{ready} of {wanted} agents are ready", remedy=f"see why: {LOOK}")]
    return [sound(f"all {wanted} agents of the DaemonSet are ready")]


async def _driver(probe: Probe) -> list[Finding]:
    try:
        await probe.session.cluster.get(CSI_DRIVERS, names.CSI_DRIVER)
    except errors.NotFound:
        remedy = "apply the chart again: without the CSIDriver no volume of ours is mounted"
        return [fault(f"the CSIDriver {names.CSI_DRIVER} is not there", remedy=remedy)]
    except errors.Forbidden:
        return [skipped(f"the CSIDriver {names.CSI_DRIVER} may not be read")]
    return [sound(f"the CSIDriver {names.CSI_DRIVER} is there")]


async def _missing(probe: Probe, known: set[str]) -> list[Finding]:
    """The nodes that pools select and no agent has ever reported."""
    pools = await reading.pools(probe.session.cluster)
    try:
        nodes = (await probe.session.cluster.list(NODES)).items
    except errors.Forbidden:
        return [skipped("Nodes may not be read")]
    absent: dict[str, set[str]] = {}
    for pool in pools:
        absent[pool["metadata"]["name"]] = _selected(pool, nodes) - known
    found = [
        fault(
            f"no agent has reported {words.counted(len(lost), 'node')} of pool {pool}: {words.listed(lost)}",
            remedy=f"run the agent there: check its nodeSelector and tolerations, {LOOK}",
        )
        for pool, lost in absent.items()
        if lost
    ]
    return found or [sound(f"every node of {words.counted(len(pools), 'pool')} has an agent")]


def _selected(pool: Object, nodes: Iterable[Object]) -> set[str]:
    selector = pool_api.to_values(pool).node_selector
    return {
        each["metadata"]["name"]
        for each in nodes
        if inventory.selects(selector, (each["metadata"].get("labels") or {}).items())
    }
