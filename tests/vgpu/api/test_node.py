"""Nodes: ledger and facts read back as they were written, garbage is named with its field."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from vgpu import values
from vgpu.api import InvalidObject, node

amounts_of_any_size = st.builds(
    values.Amounts, memory_bytes=st.integers(0, 2**50), compute_percent=st.integers(0, 100)
)
texts = st.text(alphabet="abcdefgh-0123456789", min_size=1, max_size=20)
pods = st.builds(
    values.PodRef,
    name=texts,
    uid=texts,
    cpu_milli=st.integers(0, 10**6),
    memory_bytes=st.integers(0, 2**50),
)
slices = st.builds(
    values.Slice,
    id=texts,
    pool_name=texts,
    claim=st.builds(values.ClaimRef, namespace=texts, name=texts, uid=texts),
    pods=st.lists(pods, max_size=3).map(tuple),
    device_uuids=st.lists(texts, min_size=1, max_size=3, unique=True).map(tuple),
    requests=amounts_of_any_size,
    allocated=amounts_of_any_size,
    limits=amounts_of_any_size,
    held_memory_bytes=st.integers(0, 2**50),
    revision=st.integers(0, 2**40),
    priority=st.integers(-(10**9), 10**9),
    wanted=st.none() | amounts_of_any_size,
    exclusive=st.booleans(),
    exclusion_group=st.sampled_from([None, "llm", "a-1"]),
)
reports = st.builds(
    values.Enforced,
    memory_bytes=st.integers(0, 2**50),
    compute_percent=st.integers(0, 100),
    revision=st.integers(0, 2**40),
    state=st.sampled_from(values.EnforcementState),
    message=texts,
)
devices = st.builds(
    values.Device,
    uuid=texts,
    index=st.integers(0, 1023),
    model=texts,
    memory_bytes=st.integers(0, 2**50),
    vendor=texts,
    numa_node=st.none() | st.integers(0, 7),
    healthy=st.booleans(),
)


def example(name: str) -> dict[str, Any]:
    examples = yaml.safe_load((Path(__file__).parent / "examples.yaml").read_text())
    (found,) = [each["manifest"] for each in examples if each["name"] == name]
    return dict(found)


@given(slices)
def test_a_slice_reads_back_as_it_was_written(entry: values.Slice) -> None:
    raw = {"metadata": {"name": "n"}, "spec": {"slices": {entry.id: node.slice_to_json(entry)}}}

    (read,) = node.to_values(raw).slices.values()
    assert read == entry
    assert list(map(repr, read.pods)) == list(
        map(repr, entry.pods)
    )  # all of it: pods are equal by name and UID
    node.Slice.model_validate(node.slice_to_json(entry))


@given(reports)
def test_a_report_reads_back_as_it_was_written(report: values.Enforced) -> None:
    raw = {"metadata": {"name": "n"}, "status": {"slices": {"s": node.enforced_to_json(report)}}}

    assert node.to_values(raw).enforced == {"s": report}
    node.Report.model_validate(node.enforced_to_json(report))


@given(devices)
def test_a_device_reads_back_as_it_was_written(device: values.Device) -> None:
    raw = {"metadata": {"name": "n"}, "status": {"devices": [node.device_to_json(device)]}}

    assert node.to_values(raw).devices == (device,)
    node.Device.model_validate(node.device_to_json(device))


def test_a_node_keeps_name_labels_revision_cordons_and_heartbeat() -> None:
    raw = {
        "metadata": {"name": "gpu-2", "labels": {"zone": "a"}},
        "spec": {"revision": 42, "cordonedDevices": ["GPU-1"]},
        "status": {"heartbeatTime": "2001-09-09T01:46:40Z"},
    }

    assert node.to_values(raw) == values.Node(
        name="gpu-2",
        labels={"zone": "a"},
        revision=42,
        cordoned_devices=frozenset({"GPU-1"}),
        heartbeat_at=1_000_000_000.0,
    )


def test_what_a_node_offers_its_pods_is_known_once_its_agent_has_said_so() -> None:
    raw = {"metadata": {"name": "n"}, "status": {"allocatable": {"cpuMilli": 7900, "memory": "60Gi"}}}

    read = node.to_values(raw)

    assert (read.cpu_milli, read.memory_bytes) == (7900, 60 * values.GIB)


def test_a_node_that_has_nothing_yet_is_empty() -> None:
    assert node.to_values({"metadata": {"name": "n"}}) == values.Node(name="n", labels={})


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"heldMemory": "lots"}, "spec.slices.s.heldMemory"),
        ({"heldMemory": None}, "spec.slices.s.heldMemory"),
        ({"requests": {"memory": "1Gi"}}, "spec.slices.s.requests.computePercent"),
        ({"requests": {"memory": "1Gi", "computePercent": "5"}}, "spec.slices.s.requests.computePercent"),
        ({"allocated": []}, "spec.slices.s.allocated"),
        ({"pods": {"name": "x"}}, "spec.slices.s.pods"),
        ({"revision": 1.5}, "spec.slices.s.revision"),
        ({"poolName": 7}, "spec.slices.s.poolName"),
        ({"claim": {"name": "c"}}, "spec.slices.s.claim.namespace"),
    ],
)
def test_a_broken_slice_is_named_with_its_field(change: dict[str, Any], field: str) -> None:
    spec = example("a node with a slice is accepted")["spec"]
    (good,) = spec["slices"].values()

    with pytest.raises(InvalidObject) as refused:
        node.to_values({"metadata": {"name": "n"}, "spec": {"slices": {"s": good | change}}})

    assert refused.value.field == field


def test_a_heartbeat_that_is_no_time_is_refused() -> None:
    with pytest.raises(InvalidObject, match=r"VGPUNode n: status.heartbeatTime: expected"):
        node.to_values({"metadata": {"name": "n"}, "status": {"heartbeatTime": "yesterday"}})


def test_an_escape_reads_back_as_it_was_written() -> None:
    escape = values.Escape(device_uuid="GPU-0", message="pod p-1 holds 2 GiB of GPU-0 without a slice there")

    read = node.to_values(
        {"metadata": {"name": "gpu-1"}, "status": {"escapes": {"p-1": node.escape_to_json(escape)}}}
    )

    assert read.escapes == {"p-1": escape}


def test_an_escape_without_its_device_is_named() -> None:
    broken = {"metadata": {"name": "gpu-1"}, "status": {"escapes": {"p-1": {"message": "x"}}}}

    with pytest.raises(InvalidObject, match="deviceUUID"):
        node.to_values(broken)


def test_a_device_tells_how_it_reaches_the_others() -> None:
    links = [
        {"uuid": "GPU-1", "type": "NVLink", "laneCount": 4},
        {"uuid": "GPU-2", "type": "NUMANode"},
    ]
    entry = {"uuid": "GPU-0", "index": 0, "model": "A100", "memory": "80Gi", "links": links}

    [found] = node.to_values({"metadata": {"name": "n"}, "status": {"devices": [entry]}}).devices

    assert found.links == (
        values.Link(uuid="GPU-1", kind=values.LinkKind.NVLINK, lanes=4),
        values.Link(uuid="GPU-2", kind=values.LinkKind.NUMA_NODE),
    )


@given(slices)
def test_a_slice_that_keeps_nobody_off_says_nothing_of_it(entry: values.Slice) -> None:
    written = node.slice_to_json(replace(entry, exclusive=False, exclusion_group=None))

    assert not {"exclusive", "exclusionGroup"} & written.keys()
