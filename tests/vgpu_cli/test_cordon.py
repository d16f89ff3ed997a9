from typing import Any

import pytest

from town import Run, Town
from vgpu_kube.resources import VGPU_NODES
from vgpu_kube.testing import Moment, Request


def _spec(town: Town, node: str = "gpu-0") -> dict[str, Any]:
    found = next(each for each in town.objects(VGPU_NODES) if each["metadata"]["name"] == node)
    spec: dict[str, Any] = found["spec"]
    return spec


@pytest.mark.parametrize("device", ["gpu-0/0", "GPU-gpu-0-0", "gpu-0/GPU-gpu-0-0"])
def test_a_cordoned_device_is_in_the_ledger_and_its_slices_stay(run: Run, settled: Town, device: str) -> None:
    answer = run("cordon", device)

    assert answer.exit_code == 0
    assert "takes no new slices; team-a/llm stay" in answer.output
    assert _spec(settled)["cordonedDevices"] == ["GPU-gpu-0-0"]
    assert _spec(settled)["revision"] == 4
    assert _spec(settled)["slices"]


def test_uncordon_takes_back_only_what_was_named(run: Run, settled: Town) -> None:
    run("cordon", "gpu-0/0", "gpu-0/1")

    run("uncordon", "gpu-0/0")

    assert _spec(settled)["cordonedDevices"] == ["GPU-gpu-0-1"]


def test_cordoning_twice_writes_once(run: Run, settled: Town) -> None:
    run("cordon", "gpu-0/0")
    run("cordon", "gpu-0/0")

    assert _spec(settled)["revision"] == 4


def test_a_ledger_that_changed_meanwhile_is_read_again(run: Run, settled: Town) -> None:
    struck: list[Request] = []

    def interfere(request: Request, moment: Moment) -> None:
        if request.verb == "patch_json" and moment is Moment.BEFORE and not struck:
            struck.append(request)
            raw = next(each for each in settled.objects(VGPU_NODES) if each["metadata"]["name"] == "gpu-0")
            raw["spec"]["revision"] += 1
            settled.remove(VGPU_NODES, "gpu-0")
            settled.add(VGPU_NODES, raw)

    settled.on_request = interfere

    assert run("cordon", "gpu-0/1").exit_code == 0
    assert _spec(settled)["revision"] == 5


def test_a_device_that_is_named_by_its_node_costs_no_list_of_all_nodes(run: Run, settled: Town) -> None:
    run("cordon", "gpu-0/1")

    assert {each.verb for each in settled.requests} == {"get", "patch_json"}


def test_an_unknown_node_is_a_fault(run: Run, settled: Town) -> None:
    answer = run("cordon", "gpu-9/0")

    assert answer.exit_code == 1
    assert "expected a node with GPUs gpu-9" in answer.output


def test_an_unknown_device_is_a_fault(run: Run, settled: Town) -> None:
    answer = run("cordon", "gpu-0/7")

    assert answer.exit_code == 1
    assert "expected a GPU as NODE/INDEX or UUID, found gpu-0/7" in answer.output
