"""What the agent says of its node, in objects: pure, from what was found to what is written."""

from collections.abc import Iterable, Mapping, Sequence

from vgpu import enforcement, inventory, values
from vgpu.api import names, node, quantity
from vgpu_agent import devices
from vgpu_kube.objects import Object

UNPOOLED_PERCENT = 100
DEFAULT_PODS = "110"  # the kubelet's own default


def vgpu_node(owner: Object) -> Object:
    """An empty ledger that carries its Node's labels and goes with it."""
    about = owner["metadata"]
    return {
        "metadata": {
            "name": about["name"],
            "labels": about.get("labels", {}),
            "ownerReferences": [_owner(owner)],
        },
        "spec": {"revision": 0},
    }


def metadata_changes(ledger: Object, owner: Object) -> Object:
    """The merge patch that makes a ledger's labels and owner those of its Node; empty where they are."""
    changes: Object = {}
    labels = owner["metadata"].get("labels", {})
    mirrored = ledger["metadata"].get("labels", {})
    if labels != mirrored:
        gone: Object = dict.fromkeys(mirrored.keys() - labels.keys())
        changes["labels"] = gone | {key: value for key, value in labels.items() if mirrored.get(key) != value}
    owners = ledger["metadata"].get("ownerReferences", [])
    if owners != [_owner(owner)]:
        changes["ownerReferences"] = [_owner(owner)]
    return {"metadata": changes} if changes else {}


def device(found: devices.Found) -> Object:
    """One entry of status.devices, with every member that the API server would default."""
    return node.device_to_json(found.device) | {
        "links": [
            {"uuid": link.uuid, "type": link.kind.value, "laneCount": link.lanes}
            for link in found.device.links
        ],
        "isolation": {
            "memory": found.isolation.memory.value,
            "compute": found.isolation.compute.value,
            "resize": found.isolation.resize.value,
        },
    }


def remembered(ledger: Object) -> tuple[devices.Found, ...]:
    """The devices that a VGPUNode's status tells of, for an agent whose driver does not answer yet."""
    kept = {each.uuid: each for each in node.to_values(ledger).devices}
    entries = ledger.get("status", {}).get("devices", [])
    return tuple(
        devices.Found(device=kept[entry["uuid"]], isolation=_isolation(entry.get("isolation", {})))
        for entry in entries
    )


def _isolation(entry: Object) -> values.Isolation:
    return values.Isolation(
        memory=values.MemoryIsolation(entry.get("memory", "None")),
        compute=values.ComputeIsolation(entry.get("compute", "None")),
        resize=values.ResizeMode(entry.get("resize", "None")),
    )


def report(enforced: values.Enforced, pressure: Iterable[str]) -> Object:
    """One entry of status.slices."""
    return node.enforced_to_json(enforced) | {"pressure": sorted(pressure)}


def status_changes(
    status: Object,
    found: Sequence[Object] | None,
    reports: Mapping[str, Object],
    escapes: Mapping[str, Object],
) -> Object:
    """What of a VGPUNode's status has to be written, as a merge patch of it; empty where it says all.

    ``found`` None leaves the devices as they are.
    """
    changes: Object = {}
    if found is not None and status.get("devices", []) != list(found):
        changes["devices"] = list(found)
    for name, wished in (("slices", reports), ("escapes", escapes)):
        if entries := _entry_changes(status.get(name) or {}, wished):
            changes[name] = entries
    return changes


def _entry_changes(written: Mapping[str, Object], wished: Mapping[str, Object]) -> Object:
    gone: Object = dict.fromkeys(written.keys() - wished.keys())
    return gone | {id_: each for id_, each in wished.items() if written.get(id_) != each}


def allocatable_changes(status: Object, owner: Object) -> Object:
    """What of a VGPUNode's status differs from what its Node offers pods besides GPUs, as a merge patch."""
    offered = owner.get("status", {}).get("allocatable", {})
    if "cpu" not in offered or "memory" not in offered:
        return {"allocatable": None} if "allocatable" in status else {}
    wished = {
        "cpuMilli": quantity.parse_milli(offered["cpu"]),
        "memory": quantity.format_bytes(quantity.parse_bytes(offered["memory"])),
    }
    return {} if status.get("allocatable") == wished else {"allocatable": wished}


def totals(found: Iterable[devices.Found], pools: Iterable[values.Pool], owner: Object) -> dict[str, str]:
    """The node's extended resources: what pools may promise of its healthy devices, all together.

    A device in several pools counts by the most generous of them, one in none as it is. Of the marker there
    is one for every pod: kube-scheduler leaves it out of its sums, but not out of its reasons to try again.
    """
    healthy = tuple(each.device for each in found if each.device.healthy)
    promised = promises(healthy, pools, owner)
    capacities = [promised.get(each.uuid) or _unpooled(each) for each in healthy]
    return {
        names.MEMORY_RESOURCE: quantity.format_count(
            sum(each.memory_bytes for each in capacities) // values.MIB
        ),
        names.COMPUTE_RESOURCE: quantity.format_count(sum(each.compute_percent for each in capacities)),
        names.SLICE_RESOURCE: _pods(owner) if healthy else "0",
    }


def promises(
    found: Iterable[values.Device], pools: Iterable[values.Pool], owner: Object | None
) -> dict[str, values.Amounts]:
    """What the most generous of its pools may promise of each device, by UUID; without those of no pool."""
    labels = {} if owner is None else owner["metadata"].get("labels", {})
    known = values.Node(name="", labels=labels, devices=tuple(found))
    most: dict[str, values.Amounts] = {}
    for pool in pools:
        for each in inventory.members(pool, known):
            most[each.uuid] = inventory.capacity(pool, each).at_least(most.get(each.uuid, values.NOTHING))
    return most


def capacity_changes(owner: Object, wished: Mapping[str, str]) -> Object:
    """The merge patch of a Node's status that publishes totals; empty where it has them."""
    capacity = owner.get("status", {}).get("capacity", {})
    missing = {name: value for name, value in wished.items() if capacity.get(name) != value}
    return {"status": {"capacity": missing}} if missing else {}


def limits_against(
    found: Iterable[devices.Found],
    context_costs: Mapping[str, int],
    promised: Mapping[str, values.Amounts],
) -> dict[str, enforcement.Facts]:
    """What limits are held against, by device UUID."""
    return {
        each.device.uuid: enforcement.Facts(
            memory_bytes=each.device.memory_bytes,
            isolation=each.isolation,
            context_bytes=context_costs.get(each.device.uuid, 0),
            promised_bytes=promised[each.device.uuid].memory_bytes if each.device.uuid in promised else None,
        )
        for each in found
    }


def _pods(owner: Object) -> str:
    pods: str = owner.get("status", {}).get("capacity", {}).get("pods", DEFAULT_PODS)
    return pods


def _unpooled(found: values.Device) -> values.Amounts:
    return values.Amounts(memory_bytes=found.memory_bytes, compute_percent=UNPOOLED_PERCENT)


def _owner(owner: Object) -> Object:
    about = owner["metadata"]
    return {"apiVersion": "v1", "kind": "Node", "name": about["name"], "uid": about["uid"]}
