"""A change of the ledger, written as a JSON patch, does what the core says it does."""

import copy
from typing import Any

import jsonpatch
import pytest

from vgpu import ledger, values
from vgpu.api import node as node_api
from vgpu.api import node_patch

POOL = values.Pool(name="pool", node_selector=values.Selector())
FLOOR = values.Amounts(memory_bytes=16 * values.GIB, compute_percent=25)
CEILING = values.Amounts(memory_bytes=40 * values.GIB, compute_percent=50)
RAW: dict[str, Any] = {
    "metadata": {"name": "gpu-0", "labels": {}},
    "spec": {"revision": 7, "cordonedDevices": [], "slices": {}},
    "status": {"devices": [{"uuid": "GPU-0", "index": 0, "model": "A100", "memory": "80Gi"}]},
}


def _request(slice_id: str, pod: str) -> values.Request:
    return values.Request(
        slice_id=slice_id,
        pool_name="pool",
        claim=values.ClaimRef(namespace="team", name="claim", uid="c"),
        pod=values.PodRef(name=pod, uid=f"uid-{pod}"),
        device_count=1,
        requests=FLOOR,
        limits=CEILING,
    )


def _written(raw: dict[str, Any], change: ledger.Change | values.Refusal) -> dict[str, Any]:
    assert isinstance(change, ledger.Change)
    written: dict[str, Any] = jsonpatch.apply_patch(copy.deepcopy(raw), node_patch.patch(change))
    assert node_api.to_values(written) == ledger.applied(node_api.to_values(raw), change)
    return written


def test_every_kind_of_change_reads_back_as_the_core_decided_it() -> None:
    raw = RAW
    raw = _written(raw, ledger.hold(POOL, node_api.to_values(raw), _request("a/~b", "one"), ("GPU-0",)))
    raw = _written(raw, ledger.hold(POOL, node_api.to_values(raw), _request("a/~b", "two"), ("GPU-0",)))
    raw = _written(raw, ledger.wish(node_api.to_values(raw), "a/~b", CEILING))
    raw = _written(raw, ledger.grant(POOL, node_api.to_values(raw), "a/~b"))
    raw = _written(raw, ledger.shrink(node_api.to_values(raw), "a/~b", FLOOR))
    raw = _written(raw, ledger.cordon(node_api.to_values(raw), ["GPU-0"]))
    raw = _written(raw, ledger.release(node_api.to_values(raw), {"uid-one"}))
    raw = _written(raw, ledger.release(node_api.to_values(raw), {"uid-two"}))

    assert raw["spec"] == {"revision": 15, "cordonedDevices": ["GPU-0"], "slices": {}}


def test_a_ledger_that_moved_on_refuses_the_patch() -> None:
    change = ledger.hold(POOL, node_api.to_values(RAW), _request("a", "one"), ("GPU-0",))
    assert isinstance(change, ledger.Change)
    newer = copy.deepcopy(RAW)
    newer["spec"]["revision"] = 8

    with pytest.raises(jsonpatch.JsonPatchTestFailed):
        jsonpatch.apply_patch(newer, node_patch.patch(change))


def test_an_empty_change_writes_nothing() -> None:
    assert node_patch.patch(ledger.Change(node="gpu-0", revision=7)) == []
