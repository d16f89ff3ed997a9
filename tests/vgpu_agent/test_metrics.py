"""Every metric is declared in one place; here is how the agent's look to Prometheus."""

import pathlib
from collections.abc import Iterator
from typing import Protocol

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

import builders
from builders import GIB, amounts
from vgpu import enforcement, values
from vgpu_agent import devices, hami, lending, limits, metrics, mounts
from vgpu_agent.home import Home

GPU = "GPU-11111111-2222-3333-4444-555555555555"
FOUND = devices.Found(device=values.Device(uuid=GPU, index=0, model="A100", memory_bytes=80 * GIB))
ONE = {"pool": "a100", "namespace": "team-a", "claim": "llm", "pod": "a", "node": "node-0", "device": GPU}


class Built(Protocol):
    @property
    def shim(self) -> pathlib.Path: ...


@pytest.fixture
def held(built: Built, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[limits.Limits]:
    monkeypatch.setenv("VGPU_LIBRARY", str(built.shim))
    home = Home(tmp_path / "home", mounts.LinkMounts(), built.shim)
    home.prepare()
    made = limits.Limits(home, clock=lambda: 1.0)
    made.know({GPU: enforcement.Facts(memory_bytes=80 * GIB)})
    made.apply({"a": builders.slice_("a", uuids=(GPU,), allocated=amounts(24, 60), limits=amounts(40, 100))})
    yield made
    made.close()


def exported(held: limits.Limits, *, hami_names: bool = False) -> dict[tuple[str, ...], float]:
    registry = CollectorRegistry()
    metrics.Work(registry)
    collector = metrics.Facts(held, lending.Lender(held), node="node-0", hami_names=hami_names)
    collector.found = (FOUND,)
    collector.device_memory_used[GPU] = 3 * GIB
    registry.register(collector)
    families = text_string_to_metric_families(generate_latest(registry).decode())
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in families
        for sample in family.samples
    }


def test_a_slice_is_exported_by_pool_claim_pod_and_device(held: limits.Limits) -> None:
    values_ = exported(held)

    labels = tuple(sorted(ONE.values()))
    assert values_["vgpu_claim_memory_allocated_bytes", *labels] == 24 * GIB
    assert values_["vgpu_claim_memory_limit_bytes", *labels] == 40 * GIB
    assert values_["vgpu_claim_memory_used_bytes", *labels] == 0
    assert values_["vgpu_claim_compute_allocated_ratio", *labels] == 0.6
    assert values_["vgpu_claim_throttled_seconds_total", *labels] == 0
    assert values_["vgpu_claim_memory_denials_total", *labels] == 0


def test_a_device_is_exported_with_its_health(held: limits.Limits) -> None:
    values_ = exported(held)

    assert values_["vgpu_device_memory_capacity_bytes", GPU, "node-0"] == 80 * GIB
    assert values_["vgpu_device_healthy", GPU, "node-0"] == 1


def test_the_names_of_hamis_monitor_are_there_when_asked_for(held: limits.Limits) -> None:
    assert not [name for name, *_ in exported(held) if name.startswith("hami_")]

    values_ = exported(held, hami_names=True)

    of_a_container = sorted(["team-a", "a", "", "0", GPU])
    assert values_["hami_vgpu_memory_limit_bytes", *of_a_container] == 24 * GIB
    assert {name for name, *_ in values_ if name.startswith("hami_")} == {*hami.SLICES, hami.DEVICE_MEMORY}
    assert values_["hami_host_gpu_memory_used_bytes", *sorted(["node-0", "0", GPU, "A100"])] == 3 * GIB


def test_an_alias_says_what_the_name_of_ours_says(held: limits.Limits) -> None:
    values_ = exported(held, hami_names=True)

    for theirs, ours in hami.SLICES.items():
        [alias] = [value for (name, *_), value in values_.items() if name == theirs]
        [original] = [value for (name, *_), value in values_.items() if name == f"vgpu_claim_{ours}"]
        assert alias == original


def test_a_shared_slice_names_no_pod(held: limits.Limits) -> None:
    held.apply({"a": builders.slice_("a", uuids=(GPU,), pods=("one", "two"))})

    labels = tuple(sorted({**ONE, "pod": ""}.values()))
    assert exported(held)["vgpu_claim_memory_allocated_bytes", *labels] == 16 * GIB
