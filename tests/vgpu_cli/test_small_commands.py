import json

import pytest

from town import Run, Town
from vgpu_cli import app
from vgpu_cli.commands import completion
from vgpu_kube import errors
from vgpu_kube.resources import DEPLOYMENTS, VGPU_POOLS


def test_capabilities_counts_each_kind_and_says_what_its_words_mean(run: Run, settled: Town) -> None:
    answer = run("capabilities")

    assert "NVIDIA-A100-SXM4-80GB" in answer.output
    assert "Live: while the pod runs" in answer.output


def test_capabilities_in_json_counts_devices_and_nodes(run: Run, settled: Town) -> None:
    [kind] = json.loads(run("capabilities", "-o", "json").output)

    assert (kind["devices"], kind["nodes"], kind["memoryBytes"]) == (4, 2, 80 * 2**30)


def test_version_tells_the_client_the_server_and_our_images(run: Run, town: Town) -> None:
    container = {"name": "main", "image": "vgpu:1"}
    spec = {"template": {"spec": {"containers": [container]}}}
    town.add(DEPLOYMENTS, {"metadata": {"name": "vgpu-operator"}, "spec": spec}, "vgpu-system")

    answer = json.loads(run("version", "-o", "json").output)

    assert answer["server"] == {"kubernetes": "v1.36.4", "images": {"vgpu-operator": ["vgpu:1"]}}


def test_the_help_names_every_command(run: Run) -> None:
    answer = run("--help").output

    for name in app.COMMANDS:
        assert f"  {name}" in answer


def test_words_complete_for_the_shell_and_for_kubectl() -> None:
    assert completion.words(["sta"]) == ["status"]
    assert "status" in completion.words([])
    assert "--all-namespaces" in completion.words(["status", "--all"])


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_there_is_a_completion_script_for_each_shell(run: Run, shell: str) -> None:
    assert "_KUBECTL_VGPU_COMPLETE" in run("completion", shell).output


def test_wrong_usage_ends_with_2(run: Run) -> None:
    assert run("status", "--nonsense").exit_code == 2
    assert run("nonsense").exit_code == 2


def test_a_cluster_that_does_not_answer_ends_with_3(run: Run, town: Town) -> None:
    town.fail_next(errors.Unavailable(0, "OSError", "connection refused"), resource=VGPU_POOLS)

    answer = run("status")

    assert answer.exit_code == 3
    assert "connection refused" in answer.output


def test_a_cluster_without_our_kinds_names_the_next_step(run: Run, town: Town) -> None:
    town.fail_next(errors.NotFound(404, "HTTP404", "404 page not found"), resource=VGPU_POOLS)

    answer = run("status")

    assert answer.exit_code == 1
    assert "kubectl vgpu check" in answer.output


def test_an_object_that_is_none_of_its_kind_is_no_traceback(run: Run, settled: Town) -> None:
    settled.add(VGPU_POOLS, {"metadata": {"name": "odd"}, "spec": {"nodeSelector": "all"}})

    answer = run("tree")

    assert answer.exit_code == 1
    assert "VGPUPool odd: spec.nodeSelector: expected" in answer.output


def test_what_one_may_not_read_is_said_in_words(run: Run, town: Town) -> None:
    town.fail_next(
        errors.Forbidden(403, "Forbidden", 'cannot list resource "vgpupools"'), resource=VGPU_POOLS
    )

    answer = run("status")

    assert answer.exit_code == 1
    assert "expected permission" in answer.output
