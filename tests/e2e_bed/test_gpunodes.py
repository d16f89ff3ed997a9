"""A hand-made node says what a node with an agent would say."""

import dataclasses
import datetime

from vgpu.api import node
from vgpu_e2e import gpunodes

NOW = datetime.datetime(2026, 3, 1, 12, tzinfo=datetime.UTC)
SHAPE = gpunodes.NodeShape(gpus=4, model=gpunodes.A100)


def test_a_node_is_ready_when_it_is_created() -> None:
    conditions = gpunodes.node("n", SHAPE, now=NOW)["status"]["conditions"]

    assert {each["type"]: each["status"] for each in conditions}["Ready"] == "True"


def test_a_node_offers_the_totals_of_its_gpus() -> None:
    allocatable = gpunodes.node("n", SHAPE, now=NOW)["status"]["allocatable"]

    assert allocatable["vgpu.dev/memory-mib"] == str(4 * 80 * 1024)
    assert allocatable["vgpu.dev/compute-percent"] == "800"


def test_overcommit_multiplies_the_totals() -> None:
    shape = dataclasses.replace(SHAPE, overcommit_memory_percent=150, overcommit_compute_percent=100)

    allocatable = gpunodes.node("n", shape, now=NOW)["status"]["allocatable"]

    assert allocatable["vgpu.dev/memory-mib"] == str(6 * 80 * 1024)
    assert allocatable["vgpu.dev/compute-percent"] == "400"


def test_a_ledger_mirrors_the_labels_of_its_node_and_goes_with_it() -> None:
    owner = {"metadata": {"name": "n", "uid": "u", "labels": {"a": "b"}}}

    ledger = gpunodes.vgpu_node(owner)

    assert ledger["metadata"]["labels"] == {"a": "b"}
    assert ledger["metadata"]["ownerReferences"][0]["uid"] == "u"
    assert ledger["spec"] == {"revision": 0}


def test_device_uuids_are_distinct_and_the_same_in_every_run() -> None:
    uuids = {gpunodes.device_uuid(name, index) for name in ("gpu-0", "gpu-1") for index in range(8)}

    assert len(uuids) == 16
    assert gpunodes.device_uuid("gpu-0", 0) == "GPU-b522ac43-267c-5e42-9665-83cea0a604d7"


def test_devices_are_spread_over_two_sockets() -> None:
    devices = gpunodes.vgpu_node_status("n", SHAPE, now=NOW)["devices"]

    assert [each["numaNode"] for each in devices] == [0, 0, 1, 1]


def test_nvlink_joins_gpus_in_groups_by_their_indices() -> None:
    shape = dataclasses.replace(SHAPE, gpus=5, joined=2)

    devices = gpunodes.vgpu_node_status("n", shape, now=NOW)["devices"]

    at = {gpunodes.device_uuid("n", index): index for index in range(5)}
    assert [[at[link["uuid"]] for link in each["links"]] for each in devices] == [[1], [0], [3], [2], []]


def test_the_platform_reads_a_hand_made_node() -> None:
    ledger = gpunodes.vgpu_node({"metadata": {"name": "n", "uid": "u", "labels": {"a": "b"}}})

    read = node.to_values(ledger | {"status": gpunodes.vgpu_node_status("n", SHAPE, now=NOW)})

    assert [(each.index, each.memory_bytes, each.healthy) for each in read.devices] == [
        (index, gpunodes.A100.memory_bytes, True) for index in range(4)
    ]


def test_times_are_whole_seconds_in_utc() -> None:
    east = datetime.timezone(datetime.timedelta(hours=2))

    assert gpunodes.timestamp(datetime.datetime(2026, 3, 1, 14, tzinfo=east)) == "2026-03-01T12:00:00Z"
