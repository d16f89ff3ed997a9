"""A change of the ledger as the JSON patch that writes it, if nobody has written in between."""

from typing import Any

from vgpu import ledger
from vgpu.api import node


def patch(change: ledger.Change) -> list[dict[str, Any]]:
    """The operations on a VGPUNode: a test of the revision first, the next one with the change; [] for none.

    Members that an API server has defaulted (``slices``, ``cordonedDevices``) need to be there.
    """
    if change.empty:
        return []
    ops = [
        _op("test", "/spec/revision", change.revision),
        _op("replace", "/spec/revision", change.revision + 1),
    ]
    ops += [{"op": "remove", "path": _slice(slice_id)} for slice_id in sorted(change.drop)]
    ops += [_op("add", _slice(slice_id), node.slice_to_json(entry)) for slice_id, entry in change.put.items()]
    if change.cordoned_devices is not None:
        ops.append(_op("add", "/spec/cordonedDevices", sorted(change.cordoned_devices)))
    return ops


def _op(verb: str, path: str, value: object) -> dict[str, Any]:
    return {"op": verb, "path": path, "value": value}


def _slice(slice_id: str) -> str:
    return "/spec/slices/" + slice_id.replace("~", "~0").replace("/", "~1")
